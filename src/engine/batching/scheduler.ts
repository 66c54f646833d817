// Texts of many at once: they come and go between two steps of the model (continuous batching; Orca, OSDI 2022).

import type { CausalLM } from '../../models/index.ts'
import { ContiguousCache, type KvType } from '../../nn/index.ts'
import { Batch, type RoutingListener } from './batch.ts'
import { Places, pageTokens, sharedPages } from './places.ts'
import { type AskedText, abortWaiting, RunningText } from './running-text.ts'
import { WaitingLine } from './waiting-line.ts'

export interface SchedulerOptions {
  /** Texts that are written at once. */
  texts: number
  /** Most tokens of each, its prompt's included. */
  context: number
  /** Texts that may wait for a place. */
  waiting: number
  kv?: KvType | undefined
}

/** What a scheduler has done, and does. */
export interface SchedulerCounts {
  running: number
  waiting: number
  /** Share of the cache that holds something: of texts, and of prompts that are kept for others. */
  cacheUse: number
  /** Tokens of prompts, and of them those whose keys and values were there already. */
  promptTokens: number
  cachedTokens: number
  newTokens: number
  /** Passes of the model. */
  steps: number
}

/** Pages of prompts that are read in one step: those who write wait for no more. */
const pagesAtOnce = 4

export class Scheduler implements Disposable {
  readonly #cache: ContiguousCache
  readonly #places: Places
  readonly #batch: Batch
  readonly #line: WaitingLine<AskedText>
  #running: RunningText[] = []
  readonly #done = { promptTokens: 0, cachedTokens: 0, newTokens: 0, steps: 0 }

  constructor(
    model: CausalLM,
    { texts, context, waiting, kv }: SchedulerOptions,
    onRouting: RoutingListener,
  ) {
    this.#cache = new ContiguousCache(model, { sequences: texts, capacity: context, kv })
    this.#places = new Places(this.#cache)
    this.#batch = new Batch(model, this.#cache, onRouting)
    this.#line = new WaitingLine(waiting)
  }

  get isBusy(): boolean {
    return this.#running.length > 0 || this.#line.length > 0
  }

  get counts(): SchedulerCounts {
    const room = this.#cache.capacity * this.#places.all.length
    return {
      running: this.#running.length,
      waiting: this.#line.length,
      cacheUse: this.#places.tokens / room,
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
    if (this.#line.remove(asked)) abortWaiting(asked)
    for (const running of this.#running.filter(text => text.asked === asked)) {
      running.abort()
      this.#leave(running)
    }
  }

  /** Ends all texts with an error. */
  failAll(error: unknown): void {
    const asked = [...this.#running.map(text => text.asked), ...this.#line.clear()]
    for (const text of [...this.#running]) this.#leave(text)
    this.#places.forget()
    this.#batch.forget()
    for (const { listener } of asked) listener.onError(error)
  }

  /** One pass of the model: a token for every text that is written, some pages of prompts. */
  step(): void {
    this.#admit()
    const texts = [...this.#running.filter(text => !text.isReading), ...this.#readers()]
    if (texts.length === 0) return
    for (const [text, scores] of this.#batch.run(texts)) this.#advance(text, scores)
    this.#done.steps++
  }

  #admit(): void {
    while (this.#places.hasFree && this.#line.length > 0) {
      const asked = this.#line.take() as AskedText
      const place = this.#places.take(this.#isShareable(asked) ? asked.text.prompt : [])
      if (place) this.#running.push(new RunningText(asked, place))
    }
  }

  /** Whose prompts are read in this step. Who needs a page that another is about to read waits for it. */
  #readers(): RunningText[] {
    const readers: RunningText[] = []
    for (const text of this.#running.filter(each => each.isReading)) {
      if (this.#isShareable(text.asked)) text.adopt(this.#places)
      if (readers.length < pagesAtOnce && !readers.some(other => this.#isAbout(other, text)))
        readers.push(text)
    }
    return readers
  }

  /** Whether a text's next page is the other's, too. */
  #isAbout(text: RunningText, other: RunningText): boolean {
    if (!this.#isShareable(text.asked) || !this.#isShareable(other.asked)) return false
    return sharedPages(text.prompt.slice(0, text.read + pageTokens), other.prompt) > other.read
  }

  /** Scores of the prompt are of tokens that are read, and where angles follow from a text's length no two are alike. */
  #isShareable({ promptLogprobs }: AskedText): boolean {
    return promptLogprobs === undefined && this.#batch.isShared
  }

  #advance(text: RunningText, scores: readonly Float32Array[]): void {
    const { written } = text.asked.text
    const [before, wasReading] = [written.length, text.isReading]
    text.advance(scores)
    if (wasReading && this.#batch.isShared) this.#places.keep(text.place, text.prompt.slice(0, text.read))
    if (wasReading && !text.isReading) {
      this.#done.promptTokens += text.prompt.length
      this.#done.cachedTokens += text.cached
    }
    this.#done.newTokens += written.length - before
    if (text.hasEnded) this.#leave(text)
  }

  #leave(text: RunningText): void {
    this.#running = this.#running.filter(other => other !== text)
    this.#places.free(text.place)
  }

  [Symbol.dispose](): void {
    this.#batch[Symbol.dispose]()
    this.#cache.dispose()
  }
}
