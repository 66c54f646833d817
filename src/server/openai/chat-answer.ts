// An answer in pieces, as the API calls them, and whole.

import { randomInt } from 'node:crypto'
import type { TextEnd } from '../../engine/index.ts'
import type { AnswerReader } from '../dialects/dialect.ts'
import type { AnswerEvent } from '../dialects/input.ts'
import { type AnswerPart, finishReason } from './answers.ts'

export interface CallDelta {
  index: number
  id?: string
  type?: 'function'
  function: { name?: string; arguments: string }
}

/** What a piece adds to a message. */
export interface MessageDelta {
  content?: string
  reasoning_content?: string
  tool_calls?: CallDelta[]
}

export interface Message {
  role: 'assistant'
  content: string | null
  refusal: null
  reasoning_content?: string
  tool_calls?: { id: string; type: 'function'; function: { name: string; arguments: string } }[]
}

const alphanumerics = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** Names a call, in the only form that Mistral's chat templates take back. */
const callId = (): string =>
  Array.from({ length: 9 }, () => alphanumerics.charAt(randomInt(alphanumerics.length))).join('')

/** The message of one answer. */
export class MessageWriter {
  readonly #reader: AnswerReader
  readonly #mostCalls: number
  readonly #calls: NonNullable<Message['tool_calls']> = []
  #content = ''
  #reasoning = ''
  #tokens = 0
  #called = 0
  /** Tokens before the answer itself. */
  reasoningTokens = 0

  /** @param mostCalls calls beyond as many are left out */
  constructor(reader: AnswerReader, mostCalls: number) {
    this.#reader = reader
    this.#mostCalls = mostCalls
  }

  /** What a part of the text adds. */
  push({ text, tokens, end }: AnswerPart): MessageDelta[] {
    const events = [...this.#reader.push(text), ...(end ? this.#reader.end() : [])]
    this.#tokens += tokens.length
    const deltas = events.flatMap(event => this.#deltaOf(event) ?? [])
    if (this.#reasoning !== '' && this.#content === '' && this.#called === 0)
      this.reasoningTokens = this.#tokens
    return deltas
  }

  #deltaOf(event: AnswerEvent): MessageDelta | null {
    if (event.kind === 'content') {
      this.#content += event.text
      return { content: event.text }
    }
    if (event.kind === 'reasoning') {
      this.#reasoning += event.text
      return { reasoning_content: event.text }
    }
    return event.kind === 'call' ? this.#begin(event.name, event.id) : this.#argue(event.text)
  }

  #begin(name: string, id = callId()): MessageDelta | null {
    if (++this.#called > this.#mostCalls) return null
    const call = { id, type: 'function' as const, function: { name, arguments: '' } }
    const index = this.#calls.push(call) - 1
    return { tool_calls: [{ index, ...call, function: { ...call.function } }] }
  }

  #argue(text: string): MessageDelta | null {
    const call = this.#called > this.#mostCalls ? undefined : this.#calls.at(-1)
    if (!call) return null
    call.function.arguments += text
    return { tool_calls: [{ index: this.#calls.length - 1, function: { arguments: text } }] }
  }

  finishReason(end: TextEnd): string {
    const reason = finishReason(end)
    return reason === 'stop' && this.#calls.length > 0 ? 'tool_calls' : reason
  }

  get message(): Message {
    const hasCalls = this.#calls.length > 0
    return {
      role: 'assistant',
      content: hasCalls && this.#content === '' ? null : this.#content,
      refusal: null,
      ...(this.#reasoning !== '' && { reasoning_content: this.#reasoning }),
      ...(hasCalls && { tool_calls: this.#calls }),
    }
  }
}
