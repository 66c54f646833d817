// Least-Stale, after SpecMD (arXiv:2602.03921): experts that this pass has not used are stale and go before those it has
// used. Among them the layers decide, which always run in one order: the expert goes whose layer's turn is furthest
// away. The paper names both; this order of them, and the least recently used among equals, are ours.

import { z } from 'zod'
import { leastBy } from './least.ts'
import type { CachePolicy, ExpertGrid, PolicyRow } from './policy.ts'

export class LeastStalePolicy implements CachePolicy {
  readonly #grid: ExpertGrid
  readonly #lastUse = new Map<number, number>()

  constructor(grid: ExpertGrid) {
    this.#grid = grid
  }

  use(expert: number, now: number): void {
    this.#lastUse.set(expert, now)
  }

  victim(candidates: Iterable<number>, now: number): number {
    const { layers } = this.#grid
    const passBegan = now - (now % layers)
    return leastBy(candidates, expert => {
      const lastUse = this.#lastUse.get(expert) ?? -1
      const fresh = lastUse >= passBegan ? layers + 1 : 0
      // Both are below layers + 1, so that each term decides only between equals of the one before.
      return (fresh - this.#stepsUntil(expert, now)) * (now + 2) + lastUse
    })
  }

  /** MoE layers that run before this expert's comes round: 1 to `layers`. */
  #stepsUntil(expert: number, now: number): number {
    const { layers, experts } = this.#grid
    const ahead = Math.floor(expert / experts) - (now % layers)
    return ahead > 0 ? ahead : ahead + layers
  }
}

const schema = z.strictObject({ kind: z.literal('least-stale') })
export const leastStale: PolicyRow<typeof schema> = {
  schema,
  make: (_, grid) => new LeastStalePolicy(grid),
}
