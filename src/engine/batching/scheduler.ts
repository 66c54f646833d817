// Texts of many at once: they come and go between two steps of the model (continuous batching; Orca, OSDI 2022), and share its
// cache by pages (vLLM, arXiv:2309.06180).

import type { CausalLM } from '../../models/index.ts'
import { type KvType, PagedCache } from '../../nn/index.ts'
import { Batch, type BatchListener, type Outcome } from './batch.ts'
import { pageTokens } from './pages.ts'
import { Places, pagesOf, sharedPages } from './places.ts'
import { type AskedText, type CutReason, cutWaiting, RunningText } from './running-text.ts'
import { WaitingLine } from './waiting-line.ts'

export interface SchedulerOptions {
  /** Texts that are written at once. */
  texts: number
  /** Most tokens of each, its prompt's included. */
  context: number
  /** Tokens that there is memory for, of all texts. */
  cacheTokens: number
  /** Texts that may wait for a place. */
  waiting: number
  kv?: KvType | undefined
  /** Pages of prompts that are read in one step while nobody writes. Default 4. */
  pagesAlone?: number | undefined
}

/** What a scheduler has done, and does. */
export interface SchedulerCounts {
  running: number
  waiting: number
  /** Share of the cache's pages that texts have. */
  cacheUse: number
  /** Tokens of prompts, and of them those whose keys and values were there already. */
  promptTokens: number
  cachedTokens: number
  newTokens: number
  /** Passes of the model. */
  steps: number
  /** How often a text was put aside, so that others had room. */
  preemptions: number
}

/** Pages of prompts that are read in one step: more are hardly quicker, and those who write or come wait for no more. */
const usualPages = 4

export class Scheduler implements Disposable {
  readonly #cache: PagedCache
  readonly #places: Places
  readonly #batch: Batch
  readonly #line: WaitingLine<AskedText>
  readonly #pagesAlone: number
  /** In the order in which they began. */
  #running: RunningText[] = []
  /** Those that were put aside, the last one first. */
  #paused: RunningText[] = []
  readonly #done = { promptTokens: 0, cachedTokens: 0, newTokens: 0, steps: 0, preemptions: 0 }

  constructor(
    model: CausalLM,
    { texts, context, cacheTokens, waiting, kv, pagesAlone = usualPages }: SchedulerOptions,
    listener: BatchListener,
  ) {
    const pages = pagesOf(cacheTokens)
    this.#cache = new PagedCache(model, { sequences: texts, capacity: context, pageTokens, pages, kv })
    this.#places = new Places(this.#cache)
    this.#batch = new Batch(model, this.#cache, listener)
    this.#line = new WaitingLine(waiting)
    this.#pagesAlone = pagesAlone
  }

  get isBusy(): boolean {
    return this.#running.length > 0 || this.#paused.length > 0 || this.#line.length > 0
  }

  get counts(): SchedulerCounts {
    return {
      running: this.#running.length,
      waiting: this.#line.length + this.#paused.length,
      cacheUse: this.#places.use,
      ...this.#done,
    }
  }

  /** Takes a text, whose parts go to its listener. @throws BusyError when too many wait */
  add(asked: AskedText): void {
    this.#line.add(asked)
    this.#admit() // who finds a free place does not wait
  }

  /** Ends a text that waits or runs; one that has ended stays as it is. */
  cancel(asked: AskedText): void {
    this.#cut('aborted', each => each === asked)
  }

  #cut(reason: CutReason, isMeant: (asked: AskedText) => boolean): void {
    for (const asked of this.#line.removeAll(isMeant)) cutWaiting(asked, reason)
    for (const text of this.#begun(isMeant)) {
      text.cut(reason)
      this.#leave(text)
    }
  }

  /** Ends a text with an error. */
  fail(asked: AskedText, error: unknown): void {
    this.#fail(error, each => each === asked)
  }

  /** Ends all texts with an error. */
  failAll(error: unknown): void {
    this.#fail(error, () => true)
    this.#places.forget()
    this.#batch.forget()
  }

  #fail(error: unknown, isMeant: (asked: AskedText) => boolean): void {
    const begun = this.#begun(isMeant)
    for (const text of begun) this.#leave(text)
    const asked = [...begun.map(text => text.asked), ...this.#line.removeAll(isMeant)]
    for (const { listener } of asked) listener.onError(error)
  }

  /** Those of them that have had a place. */
  #begun(isMeant: (asked: AskedText) => boolean): RunningText[] {
    return [...this.#running, ...this.#paused].filter(({ asked }) => isMeant(asked))
  }

  /** One pass of the model: a token for every text that is written, some pages of prompts. Whether anybody took part. */
  step(): boolean {
    const now = performance.now()
    this.#cut('deadline', ({ endsBy }) => endsBy <= now)
    this.#admit()
    const texts = this.#withRoom()
    if (texts.length === 0) return false
    for (const [text, outcome] of this.#batch.run(texts)) this.#advance(text, outcome)
    this.#done.steps++
    return true
  }

  /** Of one priority those that were put aside go on before others begin. A text that is alone always finds room. */
  #admit(): void {
    while (this.#places.hasFree) {
      const { next } = this.#line
      const [first] = this.#paused
      const paused =
        first && first.asked.priority >= (next?.priority ?? first.asked.priority) ? first : undefined
      const asked = paused?.asked ?? next
      if (asked === undefined || !this.#isWelcome(asked)) return
      const place = this.#places.take(this.#isShareable(asked) ? asked.text.prompt : [])
      if (paused) paused.resume(place)
      else this.#line.take()
      this.#running.push(paused ?? new RunningText(asked, place))
      if (paused) this.#paused.shift()
    }
  }

  /** Whether there is room for all that it has so far, beside what others are about to read, and a page more for each. */
  #isWelcome({ text: { prompt, written } }: AskedText): boolean {
    if (this.#running.length === 0) return true
    const promised = this.#running.reduce(
      (sum, { place, length }) => sum + 1 + this.#places.missing(place, length),
      0,
    )
    return this.#places.hasRoom(prompt, prompt.length + written.length + 1, promised)
  }

  /**
   * Who takes part in a step, with room for its next tokens. Where there is none for what is written, whoever began last is
   * put aside; a prompt waits, unless everybody would. Who is held does not take part.
   */
  #withRoom(): RunningText[] {
    const isFree = (text: RunningText): boolean => !text.isHeld
    const writers = this.#running.filter(text => !text.isReading && isFree(text))
    for (const writer of writers) this.#makeRoom(writer)
    for (;;) {
      const most = writers.length > 0 ? usualPages : this.#pagesAlone
      const readers = this.#readers(most).filter(text => this.#makeRoomForPages(text))
      const texts = [...writers.filter(writer => this.#running.includes(writer)), ...readers]
      if (texts.length > 0 || !this.#running.some(isFree)) return texts
      this.#putAside(this.#lastOf(this.#running))
    }
  }

  #makeRoom(writer: RunningText): void {
    while (this.#running.includes(writer) && !this.#places.grow(writer.place, 1))
      this.#putAside(this.#lastOf(this.#running))
  }

  /** Whether there is room for the next pages of a prompt, or for one of them. */
  #makeRoomForPages(reader: RunningText): boolean {
    if (this.#places.grow(reader.place, reader.next.length)) return true
    reader.pagesAtOnce = 1
    return this.#places.grow(reader.place, reader.next.length)
  }

  /** Of the lowest priority whoever began last. */
  #lastOf(texts: readonly RunningText[]): RunningText {
    const lowest = Math.min(...texts.map(({ asked }) => asked.priority))
    return texts.findLast(({ asked }) => asked.priority === lowest) as RunningText
  }

  #putAside(text: RunningText): void {
    this.#running = this.#running.filter(other => other !== text)
    this.#places.free(text.place)
    this.#paused.unshift(text)
    this.#done.preemptions++
  }

  /**
   * Whose prompts are read in this step: a page of each, and what is left of `most` by those who came first, where that
   * changes nothing. Who needs a page that another is about to read waits for it.
   */
  #readers(most: number): RunningText[] {
    const readers: RunningText[] = []
    for (const text of this.#running.filter(each => each.isReading)) {
      if (this.#isShareable(text.asked)) text.adopt(this.#places)
      text.pagesAtOnce = 1
      if (text.isHeld || readers.length >= most) continue
      if (!readers.some(other => this.#isAbout(other, text))) readers.push(text)
    }
    let left = this.#batch.readsPagesAlike ? most - readers.length : 0
    for (const text of readers) {
      text.pagesAtOnce += Math.min(left, Math.max(0, text.wholePages - 1))
      if (text.isHeld) text.pagesAtOnce-- // all but the page whose scores cannot be used yet
      left -= text.pagesAtOnce - 1
    }
    return readers
  }

  /** Whether a text's next page is the other's, too. */
  #isAbout(text: RunningText, other: RunningText): boolean {
    if (!this.#isShareable(text.asked) || !this.#isShareable(other.asked)) return false
    return sharedPages(text.prompt.slice(0, text.read + text.next.length), other.prompt) > other.read
  }

  /**
   * Scores of the prompt, its embedding and routing are of tokens that are read; fewer experts leave other keys and values; and
   * where angles follow from a text's length no two are alike.
   */
  #isShareable({ promptLogprobs, isRouted, isEmbedded, expertsPerToken }: AskedText): boolean {
    const isOfRead = promptLogprobs !== undefined || isRouted || isEmbedded
    return !isOfRead && expertsPerToken === undefined && this.#batch.isShared
  }

  #advance(text: RunningText, outcome: Outcome): void {
    const { written } = text.asked.text
    const [before, wasReading] = [written.length, text.isReading]
    try {
      text.advance(outcome)
    } catch (error) {
      this.fail(text.asked, error) // what it is held to broke: no other's business
      return
    }
    const isKept = this.#batch.isShared && text.asked.expertsPerToken === undefined
    if (wasReading && isKept) this.#places.keep(text.place, text.prompt.slice(0, text.read))
    if (wasReading && !text.isReading && before === 0) {
      this.#done.promptTokens += text.prompt.length
      this.#done.cachedTokens += text.cached
    }
    this.#done.newTokens += written.length - before
    if (text.hasEnded) this.#leave(text)
  }

  #leave(text: RunningText): void {
    const isPaused = this.#paused.includes(text)
    this.#running = this.#running.filter(other => other !== text)
    this.#paused = this.#paused.filter(other => other !== text)
    if (!isPaused) this.#places.free(text.place)
  }

  [Symbol.dispose](): void {
    this.#batch[Symbol.dispose]()
    this.#cache.dispose()
  }
}
