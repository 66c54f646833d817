// A text that has its place: a prompt that is read page by page, then a token at a time.

import {
  type GrowingText,
  type StopReason,
  type TextWriter,
  type TokenProbabilities,
  tokenProbabilities,
} from '../../models/index.ts'
import type { GrammarConstraint } from '../grammar/grammars.ts'
import type { Outcome } from './batch.ts'
import { pageTokens } from './pages.ts'
import type { Place, Places } from './places.ts'
import type { RoutedTokens, TextEnd, TextPart, TextRequest } from './request.ts'
import type { Waiting } from './waiting-line.ts'

/** Takes the parts of a text. */
export interface TextListener {
  onPart(part: TextPart): void
  onError(error: unknown): void
}

/** A text that was asked for. */
export interface AskedText extends Waiting {
  readonly text: GrowingText
  /** The form that it is held to, where there is one. */
  readonly constraint: GrammarConstraint | null
  readonly writer: TextWriter
  readonly listener: TextListener
  /** See TextRequest. */
  readonly promptLogprobs: number | undefined
  readonly expertsPerToken: number | undefined
  readonly onMiss: TextRequest['onMiss']
  readonly isRouted: boolean
  readonly isEmbedded: boolean
  readonly askedAt: number
  /** When it ends at the latest, as performance.now() has it. */
  readonly endsBy: number
}

export function askedText(
  request: TextRequest,
  parts: Pick<AskedText, 'text' | 'constraint' | 'writer' | 'listener' | 'askedAt'>,
): AskedText {
  const { key = '', priority = 0, promptLogprobs, expertsPerToken, onMiss } = request
  const { deadlineMs = Number.POSITIVE_INFINITY } = request
  const { routing: isRouted = false, embedding: isEmbedded = false } = request
  const own = { key, priority, promptLogprobs, expertsPerToken, onMiss, isRouted, isEmbedded }
  return { ...own, endsBy: parts.askedAt + deadlineMs, ...parts }
}

/** What ends texts from outside. */
export type CutReason = Extract<StopReason, 'aborted' | 'deadline'>

export class RunningText {
  readonly asked: AskedText
  #place: Place
  /** Tokens of the prompt that are in the cache. */
  read: number
  /** Whole pages of it that are read in one step, at most. */
  pagesAtOnce = 1
  /** Tokens that were written and are in the cache. */
  #fed = 0
  #cached: number
  /** Tokens whose routing was told. */
  #reported = 0
  /** Whether it has given up its place before, and reads again what it had read. */
  #isAgain = false
  readonly #startedAt = performance.now()
  #readAt: number | null = null
  #probabilities: (TokenProbabilities | null)[] = [null]
  /** Of the hidden states of its prompt. */
  #sum: Float64Array | null = null

  /** @param place with what is kept there of the prompt */
  constructor(asked: AskedText, place: Place) {
    this.asked = asked
    this.#place = place
    this.read = place.kept.length * pageTokens
    this.#cached = this.read
  }

  get place(): Place {
    return this.#place
  }

  get prompt(): readonly number[] {
    return this.asked.text.prompt
  }

  /** Tokens of the prompt that were in the cache already. */
  get cached(): number {
    return this.#cached
  }

  /** Tokens that it has, the prompt's included. */
  get length(): number {
    return this.prompt.length + this.asked.text.written.length
  }

  get hasEnded(): boolean {
    return !this.isReading && this.asked.text.reason !== null
  }

  /** Whether its next token would come, but what its form allows is not known yet: that, or another one before, is compiled. */
  get isHeld(): boolean {
    return this.scored !== 'none' && this.asked.constraint?.isReady === false
  }

  get isReading(): boolean {
    return this.read < this.prompt.length
  }

  /** Whole pages of the prompt that are still to be read. */
  get wholePages(): number {
    return Math.floor((this.prompt.length - this.read) / pageTokens)
  }

  /** What the model reads next: pages of the prompt, or what was written after what is in the cache. */
  get next(): readonly number[] {
    const { written } = this.asked.text
    if (!this.isReading) return written.slice(this.#fed, this.#fed + 1)
    // A page that is not whole is read by itself, where attention may sum otherwise.
    const pages = Math.max(1, Math.min(this.pagesAtOnce, this.wholePages))
    return this.prompt.slice(this.read, this.read + pages * pageTokens)
  }

  /** Of which of its next tokens scores are wanted. */
  get scored(): 'none' | 'last' | 'all' {
    if (this.isReading && this.asked.promptLogprobs !== undefined) return 'all'
    return this.isReading && this.read + this.next.length < this.prompt.length ? 'none' : 'last'
  }

  /** Takes what is kept of its prompt beyond what it has read. */
  adopt(places: Places): void {
    const more = places.adopt(this.#place, this.prompt)
    this.read += more
    if (!this.#isAgain) this.#cached += more
  }

  /**
   * Goes on in another place, after its own was given up: what it has written is put there a token at a time, as it was
   * before, so that to the last bit it goes on as if it had never stopped.
   */
  resume(place: Place): void {
    this.#place = place
    this.read = place.kept.length * pageTokens
    this.#fed = 0
    this.#isAgain = true
    this.#probabilities = [null]
    this.#sum = null
  }

  /** Counts its next tokens as read. */
  advance({ scores, routing, hiddenSums }: Outcome): void {
    if (routing) this.#report(routing)
    for (const page of this.isReading ? hiddenSums : [])
      this.#sum = page.map((value, d) => value + (this.#sum?.[d] ?? 0))
    if (this.isReading) this.#advanceReading(scores)
    else this.#fed++
    const last = scores.at(-1)
    const { written } = this.asked.text
    if (!this.isReading && this.#fed === written.length && last) this.#write(last)
  }

  /** What was read before is not told again. */
  #report({ layers, tokens }: RoutedTokens): void {
    const fresh = tokens.slice(Math.max(0, this.#reported - (this.read + this.#fed)))
    this.#reported += fresh.length
    if (fresh.length > 0)
      this.asked.listener.onPart({ text: '', tokens: [], routing: { layers, tokens: fresh } })
  }

  #advanceReading(scores: readonly Float32Array[]): void {
    const { promptLogprobs, listener } = this.asked
    if (promptLogprobs !== undefined && this.#readAt === null) {
      const following = this.prompt.slice(this.read + 1, this.read + 1 + scores.length)
      for (const [i, id] of following.entries())
        this.#probabilities.push(tokenProbabilities(scores[i] as Float32Array, id, promptLogprobs))
    }
    this.read += this.next.length
    if (this.isReading || this.#readAt !== null) return
    this.#readAt = performance.now()
    if (this.#sum) listener.onPart({ text: '', tokens: [], embedding: direction(this.#sum) })
    if (promptLogprobs !== undefined)
      listener.onPart({
        text: '',
        tokens: [],
        prompt: { ids: this.prompt, probabilities: this.#probabilities },
      })
  }

  #write(logits: Float32Array): void {
    const { text, writer, listener } = this.asked
    const token = text.reason === null ? text.extend(logits) : null
    const piece = token ? writer.push(token.id) : ''
    // A stop text within the last token counts for more than the limit that the token reached.
    if (writer.stopped) text.reason = 'stop-text'
    const tokens = token ? [token] : []
    if (text.reason === null) listener.onPart({ text: piece, tokens })
    else listener.onPart({ text: piece + writer.flush(), tokens, end: this.#end(text.reason) })
  }

  /** Ends it from outside. */
  cut(reason: CutReason): void {
    const { text, writer, listener } = this.asked
    text.reason = reason
    listener.onPart({ text: writer.flush(), tokens: [], end: this.#end(reason) })
  }

  #end(reason: StopReason): TextEnd {
    return endOf(this.asked, reason, {
      cached: this.cached,
      startedAt: this.#startedAt,
      readAt: this.#readAt,
    })
  }
}

/** A vector of length 1; of a sum the same as of the mean. */
function direction(sum: Float64Array): Float32Array {
  const length = Math.hypot(...sum)
  return Float32Array.from(sum, value => (length > 0 ? value / length : 0))
}

/** Ends a text that has no place yet. */
export function cutWaiting(asked: AskedText, reason: CutReason): void {
  asked.text.reason = reason
  asked.listener.onPart({ text: '', tokens: [], end: endOf(asked, reason, { cached: 0 }) })
}

function endOf(
  { text, writer, askedAt }: AskedText,
  reason: StopReason,
  { cached, startedAt, readAt }: { cached: number; startedAt?: number; readAt?: number | null },
): TextEnd {
  const now = performance.now()
  const [started, read] = [startedAt ?? now, readAt ?? now]
  return {
    reason,
    ...(reason === 'stop-text' && writer.stopText !== null && { stopText: writer.stopText }),
    promptTokens: text.prompt.length,
    cachedTokens: cached,
    newTokens: text.written.length,
    seconds: {
      queued: (started - askedAt) / 1000,
      prompt: (read - started) / 1000,
      writing: (now - read) / 1000,
    },
  }
}
