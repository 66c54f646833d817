// How evenly the experts of each layer are used, counted over the prompts that were read.

import type { LayerRouting } from '../../models/index.ts'
import { countPerExpert, loadStats } from '../../moe/index.ts'

/** Of one layer. */
export interface LayerLoad {
  layer: number
  /** Heaviest load over the mean: 1 is perfect balance. */
  maxOverMean: number
  /** Experts that served nothing. */
  dead: number
  /** How many equally loaded experts would spread as wide. */
  effectiveExperts: number
  /** Slots that each expert served. */
  counts: readonly number[]
}

export class ExpertLoad {
  readonly #counts = new Map<number, number[]>()

  /** Counts what was served in one pass of the model. */
  note(routings: readonly LayerRouting[]): void {
    for (const { layer, served } of routings) {
      const known = this.#counts.get(layer)
      this.#counts.set(
        layer,
        countPerExpert(served).map((count, expert) => count + (known?.[expert] ?? 0)),
      )
    }
  }

  get layers(): LayerLoad[] {
    return [...this.#counts].map(([layer, counts]) => {
      const { maxOverMean, dead, effectiveExperts } = loadStats(counts)
      return { layer, maxOverMean, dead, effectiveExperts, counts }
    })
  }
}
