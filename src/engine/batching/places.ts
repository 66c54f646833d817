// Places of texts in a cache of keys and values, and what is kept there of earlier ones.

import type { ContiguousCache } from '../../nn/index.ts'

/**
 * Tokens of a page. A prompt is read by pages that begin at multiples of it, and only whole pages are used again: sums of
 * attention go by how many tokens are read together, so that a text, to the last bit, depends on nothing but itself.
 */
export const pageTokens = 128

/** Tokens in whole pages. */
export const inPages = (tokens: number): number => tokens - (tokens % pageTokens)

/** A sequence of the cache. */
export interface Place {
  readonly sequence: number
  /** Tokens whose whole pages are in the cache as a prompt's reading left them. */
  kept: readonly number[]
  isFree: boolean
  /** When it was last given up, in turns. */
  freedAt: number
}

export class Places {
  readonly all: readonly Place[]
  readonly #cache: ContiguousCache
  #turn = 0

  constructor(cache: ContiguousCache) {
    this.#cache = cache
    this.all = cache.lengths.map((_, sequence) => ({ sequence, kept: [], isFree: true, freedAt: 0 }))
  }

  get hasFree(): boolean {
    return this.all.some(place => place.isFree)
  }

  /** Tokens that are in the cache, in all. */
  get tokens(): number {
    return this.#cache.lengths.reduce((sum, length) => sum + length, 0)
  }

  /**
   * A free place for a text; undefined when there is none. It is the one whose kept tokens all begin the prompt, as those of a
   * conversation that goes on; else the one that was given up longest ago.
   */
  take(prompt: readonly number[]): Place | undefined {
    const free = this.all.filter(place => place.isFree)
    const continued = free
      .filter(({ kept }) => kept.length > 0 && sharedPages(kept, prompt) === kept.length)
      .toSorted((a, b) => b.kept.length - a.kept.length)
    const [place] = [...continued, ...free.toSorted((a, b) => a.freedAt - b.freedAt)]
    if (!place) return undefined
    place.isFree = false
    this.#cut(place, sharedPages(place.kept, prompt))
    return place
  }

  /** Lets a place have what another has of a prompt's pages beyond its own; returns how many more tokens it has. */
  adopt(place: Place, prompt: readonly number[]): number {
    const shares = this.all.map(other => ({ other, shared: sharedPages(other.kept, prompt) }))
    const [best] = shares.toSorted((a, b) => b.shared - a.shared)
    const more = best ? best.shared - place.kept.length : 0
    if (!best || more <= 0) return 0
    this.#cache.share(best.other.sequence, place.sequence, best.shared)
    place.kept = best.other.kept.slice(0, best.shared)
    return more
  }

  /** Says which tokens of a prompt have been read. */
  keep(place: Place, read: readonly number[]): void {
    place.kept = read.slice(0, inPages(read.length))
  }

  /** Gives a place up; whole pages of its prompt stay until somebody needs it. */
  free(place: Place): void {
    place.isFree = true
    place.freedAt = ++this.#turn
    this.#cut(place, place.kept.length)
  }

  /** Forgets all that is kept. */
  forget(): void {
    for (const place of this.all) this.#cut(place, 0)
  }

  #cut(place: Place, length: number): void {
    place.kept = place.kept.slice(0, length)
    this.#cache.lengths[place.sequence] = length
  }
}

/** Tokens of the whole pages that begin both; one token of a prompt at least is left, whose scores are wanted. */
export function sharedPages(kept: readonly number[], prompt: readonly number[]): number {
  const most = Math.min(kept.length, prompt.length - 1)
  let shared = 0
  while (shared < most && kept[shared] === prompt[shared]) shared++
  return inPages(shared)
}
