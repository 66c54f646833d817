// What one request came to, for the log.

import type { TextEnd } from '../engine/index.ts'
import { knownError } from './api-error.ts'
import type { AnswerPart } from './openai/answers.ts'

export interface LogLine {
  time: string
  method: string
  path: string
  status: number
  seconds: number
  /** Short name of the API key; empty where none is demanded. */
  key: string
  promptTokens?: number
  cachedTokens?: number
  newTokens?: number
  queuedSeconds?: number
  firstTokenSeconds?: number
  /** Why the texts ended; client-gone: nobody read on. */
  reasons?: string[]
  /** What the client was told of a mistake. */
  problem?: string
  /** What went wrong inside, in full. */
  error?: string
}

export class RequestRecord {
  readonly #start = performance.now()
  readonly #ends: TextEnd[] = []
  #firstTokenAt: number | null = null
  #error: unknown = null
  #problem: string | null = null
  #isGone = false
  #newTokens = 0
  key = ''

  /** The same parts, which are counted on their way. */
  async *watch(parts: AsyncIterable<AnswerPart>): AsyncGenerator<AnswerPart, void> {
    let isOver = false
    try {
      for await (const part of parts) {
        if (part.tokens.length > 0) this.#firstTokenAt ??= performance.now()
        this.#newTokens += part.tokens.length
        if (part.end) this.#ends.push(part.end)
        isOver = part.end?.reason === 'aborted' // which ends the request
        yield part
      }
      isOver = true
    } catch (error) {
      isOver = true
      throw error
    } finally {
      this.#isGone = !isOver // nobody read on
    }
  }

  /** What the answer is instead: an error that the client is told, or one that is for the log alone. */
  fail(error: unknown): void {
    const known = knownError(error)
    if (known) this.#problem = known.message
    else this.#error = error
  }

  line(method: string, path: string, status: number): LogLine {
    const seconds = (at: number): number => (at - this.#start) / 1000
    const error = this.#error
    return {
      ...{ time: new Date().toISOString(), method, path, status },
      ...{ seconds: seconds(performance.now()), key: this.key },
      ...this.#texts(),
      ...(this.#firstTokenAt !== null && { firstTokenSeconds: seconds(this.#firstTokenAt) }),
      ...(this.#problem !== null && { problem: this.#problem }),
      ...(error !== null && {
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      }),
    }
  }

  #texts(): Partial<LogLine> {
    if (this.#isGone) return { newTokens: this.#newTokens, reasons: ['client-gone'] }
    if (this.#ends.length === 0) return {}
    const sum = (of: (end: TextEnd) => number): number => this.#ends.reduce((all, end) => all + of(end), 0)
    return {
      promptTokens: sum(end => end.promptTokens),
      cachedTokens: sum(end => end.cachedTokens),
      newTokens: this.#newTokens,
      queuedSeconds: Math.max(...this.#ends.map(end => end.seconds.queued)),
      reasons: [...new Set(this.#ends.map(end => end.reason))],
    }
  }
}
