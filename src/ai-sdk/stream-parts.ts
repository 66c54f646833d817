// Pieces of an answer as parts of the AI SDK's streams.

import type {
  LanguageModelV3FinishReason,
  LanguageModelV3StreamPart,
  LanguageModelV3Usage,
} from '@ai-sdk/provider'
import type { ChatPiece, MessageDelta } from '../server/index.ts'

type End = Extract<ChatPiece, { end: unknown }>
type Parts = Generator<LanguageModelV3StreamPart, void>

/** The same answer. What is begun, as a text or a call, ends before something else begins. */
export async function* streamParts(
  pieces: AsyncIterable<ChatPiece>,
): AsyncGenerator<LanguageModelV3StreamPart, void> {
  const answer = new Answer()
  for await (const piece of pieces) {
    if ('end' in piece) yield* answer.finish(piece)
    else yield* answer.add(piece.delta)
  }
}

class Answer {
  #open: { kind: 'text' | 'reasoning'; id: string } | { kind: 'call'; id: string; name: string } | null = null
  #arguments = ''
  #count = 0;

  *add({ content, reasoning_content, tool_calls = [] }: MessageDelta): Parts {
    if (content !== undefined) yield* this.#text('text', content)
    if (reasoning_content !== undefined) yield* this.#text('reasoning', reasoning_content)
    for (const { id, function: called } of tool_calls) {
      if (id !== undefined) yield* this.#begin(id, called.name ?? '')
      yield* this.#argue(called.arguments)
    }
  }

  *finish({ end, finishReason, reasoningTokens }: End): Parts {
    yield* this.#close()
    yield {
      type: 'finish',
      usage: usageOf(end, reasoningTokens),
      finishReason: { unified: unified[finishReason] ?? 'other', raw: finishReason },
    }
  }

  *#text(kind: 'text' | 'reasoning', delta: string): Parts {
    if (this.#open?.kind !== kind) {
      yield* this.#close()
      this.#open = { kind, id: `${++this.#count}` }
      yield { type: `${kind}-start`, id: this.#open.id }
    }
    yield { type: `${kind}-delta`, id: this.#open.id, delta }
  }

  *#begin(id: string, name: string): Parts {
    yield* this.#close()
    this.#open = { kind: 'call', id, name }
    this.#arguments = ''
    yield { type: 'tool-input-start', id, toolName: name }
  }

  *#argue(delta: string): Parts {
    if (this.#open?.kind !== 'call' || delta === '') return
    this.#arguments += delta
    yield { type: 'tool-input-delta', id: this.#open.id, delta }
  }

  *#close(): Parts {
    const open = this.#open
    this.#open = null
    if (open?.kind === 'call') {
      yield { type: 'tool-input-end', id: open.id }
      yield { type: 'tool-call', toolCallId: open.id, toolName: open.name, input: this.#arguments }
    } else if (open) yield { type: `${open.kind}-end`, id: open.id }
  }
}

const unified: Record<string, LanguageModelV3FinishReason['unified']> = {
  stop: 'stop',
  length: 'length',
  tool_calls: 'tool-calls',
}

function usageOf(
  { promptTokens, cachedTokens, newTokens }: End['end'],
  reasoning: number,
): LanguageModelV3Usage {
  const inputTokens = { total: promptTokens, noCache: promptTokens - cachedTokens, cacheRead: cachedTokens }
  return {
    inputTokens: { ...inputTokens, cacheWrite: undefined },
    outputTokens: { total: newTokens, text: newTokens - reasoning, reasoning },
  }
}
