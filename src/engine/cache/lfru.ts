// Frequency over recency, of colibri (github.com/JustVugg/colibri, c/tier.h): `256 uses + max(0, 255 - age)`, so that a
// use counts for more than any recency, and recency decides between equals. Uses halve now and then: what an expert did
// long ago fades.

import { z } from 'zod'
import { leastBy } from './least.ts'
import type { CachePolicy, ExpertGrid, PolicyRow } from './policy.ts'

const useWeight = 256
const mostRecency = useWeight - 1

/** Passes after which counts are halved. */
export const usualHalving = 64

export interface LfruOptions {
  /** Passes after which all counts of uses are halved, rounded down. Default: 64, after which colibri re-places experts. */
  halving?: number | undefined
}

/** Uses and last passes of experts, which survive eviction; ages are in passes, as an expert is used once in each. */
export class LfruPolicy implements CachePolicy {
  readonly #layers: number
  readonly #halving: number
  readonly #seen = new Map<number, { uses: number; lastPass: number }>()
  #nextHalving: number

  constructor({ layers }: Pick<ExpertGrid, 'layers'>, { halving = usualHalving }: LfruOptions = {}) {
    this.#layers = layers
    this.#halving = halving
    this.#nextHalving = halving
  }

  start(uses: readonly number[]): void {
    for (const [expert, count] of uses.entries())
      if (count >= 1) this.#seen.set(expert, { uses: Math.floor(count), lastPass: 0 })
  }

  use(expert: number, now: number): void {
    const pass = this.#passOf(now)
    if (pass >= this.#nextHalving) this.#halve(pass)
    this.#seen.set(expert, { uses: (this.#seen.get(expert)?.uses ?? 0) + 1, lastPass: pass })
  }

  victim(candidates: Iterable<number>, now: number): number {
    const pass = this.#passOf(now)
    return leastBy(candidates, expert => {
      const { uses, lastPass } = this.#seen.get(expert) ?? { uses: 0, lastPass: -Infinity }
      return useWeight * uses + Math.max(0, mostRecency - (pass - lastPass))
    })
  }

  #passOf(now: number): number {
    return Math.floor(now / this.#layers)
  }

  #halve(pass: number): void {
    for (const entry of this.#seen.values()) entry.uses >>= 1
    this.#nextHalving = pass + this.#halving
  }
}

const schema = z.strictObject({ kind: z.literal('lfru'), halving: z.int().positive().optional() })
export const lfru: PolicyRow<typeof schema> = {
  schema,
  make: (settings, grid) => new LfruPolicy(grid, settings),
}
