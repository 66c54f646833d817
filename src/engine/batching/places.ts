// Places of texts in a cache of keys and values: a sequence of it each, and the pages that its tokens are in.

import type { PagedCache } from '../../nn/index.ts'
import { type KeptPage, Pages, pageTokens } from './pages.ts'

/** A sequence of the cache. */
export interface Place {
  readonly sequence: number
  /** Whole pages of its prompt, which others may have too. */
  readonly kept: KeptPage[]
  /** Pages after them that it alone has. */
  readonly own: number[]
}

export class Places {
  readonly #cache: PagedCache
  readonly #pages: Pages
  readonly #free: number[]

  constructor(cache: PagedCache) {
    this.#cache = cache
    this.#pages = new Pages(cache.table.count)
    this.#free = [...cache.lengths.keys()].reverse()
  }

  /** Whether another text finds a sequence. */
  get hasFree(): boolean {
    return this.#free.length > 0
  }

  /** Share of the pages that belong to texts. What is kept for others alone counts as free. */
  get use(): number {
    return 1 - this.#pages.room / this.#pages.count
  }

  /** Whether there are pages for so many tokens that begin with a prompt, and for `promised` more. */
  hasRoom(prompt: readonly number[], tokens: number, promised: number): boolean {
    const found = this.#pages.find(prompt)
    const idle = found.filter(page => this.#pages.isIdle(page)).length
    return pagesOf(tokens) - found.length + idle + promised <= this.#pages.room
  }

  /** A sequence for a text, with what is kept of its prompt. There is a free one. */
  take(prompt: readonly number[]): Place {
    const place: Place = { sequence: this.#free.pop() as number, kept: [], own: [] }
    this.adopt(place, prompt)
    return place
  }

  /** Lets a place have what is kept of a prompt beyond what it has; returns how many more tokens it has. */
  adopt(place: Place, prompt: readonly number[]): number {
    if (place.own.length > 0) return 0
    const more = this.#pages.find(prompt).slice(place.kept.length)
    for (const page of more) this.#pages.hold(page)
    place.kept.push(...more)
    this.#tell(place)
    this.#cache.lengths[place.sequence] = place.kept.length * pageTokens
    return more.length * pageTokens
  }

  /** Pages that so many tokens need beyond those that a place has. */
  missing({ kept, own }: Place, tokens: number): number {
    return Math.max(0, pagesOf(tokens) - kept.length - own.length)
  }

  /** Makes room for more tokens; whether there was enough. */
  grow(place: Place, tokens: number): boolean {
    const missing = this.missing(place, (this.#cache.lengths[place.sequence] ?? 0) + tokens)
    if (missing > this.#pages.room) return false
    for (let i = 0; i < missing; i++) place.own.push(this.#pages.take() as number)
    if (missing > 0) this.#tell(place)
    return true
  }

  /** Says which tokens of a prompt have been read: whole pages of them are there for others. */
  keep(place: Place, read: readonly number[]): void {
    const { kept, own } = place
    while ((kept.length + 1) * pageTokens <= read.length)
      kept.push(this.#pages.keep(kept, read, own.shift() as number))
    this.#tell(place)
  }

  /** Gives a place up; whole pages of its prompt stay until somebody needs them. */
  free({ sequence, kept, own }: Place): void {
    for (const page of kept.splice(0).reverse()) this.#pages.letGo(page)
    for (const page of own.splice(0)) this.#pages.give(page)
    this.#cache.pages[sequence] = []
    this.#cache.lengths[sequence] = 0
    this.#free.push(sequence)
  }

  /** Forgets all that is kept and no text has. */
  forget(): void {
    this.#pages.forget()
  }

  #tell({ sequence, kept, own }: Place): void {
    this.#cache.pages[sequence] = [...kept.map(({ page }) => page), ...own]
  }
}

/** Pages of so many tokens. */
export const pagesOf = (tokens: number): number => Math.ceil(tokens / pageTokens)

/** Tokens of the whole pages that begin both; one token of a prompt at least is left, whose scores are wanted. */
export function sharedPages(read: readonly number[], prompt: readonly number[]): number {
  const most = Math.min(read.length, prompt.length - 1)
  let shared = 0
  while (shared < most && read[shared] === prompt[shared]) shared++
  return shared - (shared % pageTokens)
}
