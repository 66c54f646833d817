// What a model writes beside text, by its chat template: reasoning and calls of functions.

import { deepseek, deepseekShort } from './deepseek.ts'
import { glm } from './glm.ts'
import { finalOpening, harmony } from './harmony.ts'
import { hermes } from './hermes.ts'
import { type AnswerEvent, Input, type Reading, textUntil } from './input.ts'
import { kimi } from './kimi.ts'
import { llama } from './llama.ts'
import { mistral, mistralNamed } from './mistral.ts'
import { qwenCoder } from './qwen-coder.ts'
import { hasThinking, isThinking, noThought, readThought, thinkSpecials } from './thinking.ts'
import type { OfferedTool, ToolFormat } from './tool-format.ts'

const formats: readonly ToolFormat[] = [
  ...[harmony, hermes, qwenCoder, glm, kimi, mistralNamed, mistral, deepseek, deepseekShort, llama],
]

export interface Dialect {
  /** How calls are written; null where the template does not say. */
  tools: ToolFormat | null
  hasReasoning: boolean
  /** Special tokens that tell its parts apart. */
  specials: readonly string[]
  /** What ends the reasoning that a prompt has begun; empty where it has not. */
  thoughtEnd(prompt: string): string
  /** What an answer itself begins with. */
  answerStart: string
  /** Reads an answer to a prompt. Calls are looked for where functions were offered. */
  read(prompt: string, offered: readonly OfferedTool[]): AnswerReader
}

export function dialectOf(template: string): Dialect {
  const tools = formats.find(format => format.isIn(template)) ?? null
  if (tools === harmony) return harmonyDialect
  const thinks = hasThinking(template)
  return {
    tools,
    hasReasoning: thinks,
    specials: [...(thinks ? thinkSpecials : []), ...(tools?.specials ?? [])],
    thoughtEnd: prompt => (thinks && isThinking(prompt) ? noThought : ''),
    answerStart: '',
    read: (prompt, offered) =>
      new AnswerReader(function* (input) {
        if (thinks) yield* readThought(input, isThinking(prompt))
        if (tools && offered.length > 0) yield* tools.read(input, offered)
        else yield* textUntil(input, [])
      }),
  }
}

const harmonyDialect: Dialect = {
  tools: harmony,
  hasReasoning: true,
  specials: harmony.specials,
  thoughtEnd: () => '',
  answerStart: finalOpening,
  read: (_, offered) => new AnswerReader(input => harmony.read(input, offered)),
}

/** Takes an answer in pieces, and tells what each adds to it. */
export class AnswerReader {
  readonly #input = new Input()
  readonly #reading: Reading
  #space = ''
  /** Calls that the prompt has begun. */
  #begun: AnswerEvent[] = []

  constructor(read: (input: Input) => Reading) {
    this.#reading = read(this.#input)
  }

  /** Takes what the prompt has of the answer already. */
  begin(text: string): void {
    this.#begun = this.push(text).filter(({ kind }) => kind === 'call')
  }

  push(text: string): AnswerEvent[] {
    this.#input.text += text
    const begun = this.#begun.splice(0)
    return [...begun, ...this.#events()]
  }

  /** What was held back, once no more text comes. */
  end(): AnswerEvent[] {
    this.#input.isOver = true
    const events = this.#events()
    const space = this.#space
    return space === '' ? events : [...events, { kind: 'content', text: space }]
  }

  #events(): AnswerEvent[] {
    const events: AnswerEvent[] = []
    for (let next = this.#reading.next(); !next.done && next.value; next = this.#reading.next())
      events.push(...this.#spaced(next.value))
    return events
  }

  /** Space at the end of content waits: before a call it is none. */
  #spaced(event: AnswerEvent): AnswerEvent[] {
    if (event.kind !== 'content') {
      this.#space = ''
      return [event]
    }
    const all = this.#space + event.text
    const text = all.trimEnd()
    this.#space = all.slice(text.length)
    return text === '' ? [] : [{ kind: 'content', text }]
  }
}
