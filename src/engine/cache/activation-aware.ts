// MoE-Infinity (arXiv:2401.14361, section 5): the expert goes that the present text used least within its layer,
// `(uses / uses in the layer + epsilon) (1 - layer / layers)`. The second factor keeps early layers, whose experts nothing
// could fetch ahead of time.

import { z } from 'zod'
import { leastBy } from './least.ts'
import type { CachePolicy, ExpertGrid, PolicyRow } from './policy.ts'

/** So that layers still count among experts that the text has not used. */
const epsilon = 1e-4

export class ActivationAwarePolicy implements CachePolicy {
  readonly #grid: ExpertGrid
  readonly #uses: Float64Array // [layers * experts]
  readonly #layerUses: Float64Array // [layers]

  constructor(grid: ExpertGrid) {
    this.#grid = grid
    this.#uses = new Float64Array(grid.layers * grid.experts)
    this.#layerUses = new Float64Array(grid.layers)
  }

  begin(): void {
    this.#uses.fill(0)
    this.#layerUses.fill(0)
  }

  use(expert: number): void {
    this.#uses[expert]! += 1
    this.#layerUses[this.#layerOf(expert)]! += 1
  }

  victim(candidates: Iterable<number>): number {
    return leastBy(candidates, expert => {
      const layer = this.#layerOf(expert)
      const share = this.#uses[expert]! / Math.max(1, this.#layerUses[layer]!)
      return (share + epsilon) * (1 - layer / this.#grid.layers)
    })
  }

  #layerOf(expert: number): number {
    return Math.floor(expert / this.#grid.experts)
  }
}

const schema = z.strictObject({ kind: z.literal('activation-aware') })
export const activationAware: PolicyRow<typeof schema> = {
  schema,
  make: (_, grid) => new ActivationAwarePolicy(grid),
}
