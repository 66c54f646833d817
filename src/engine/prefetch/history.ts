// By history: the experts that most often followed what the layer before chose, counted as the text goes along.

import { z } from 'zod'
import type { ExpertGrid } from '../cache/policy.ts'
import type { Step } from '../trace/choices.ts'
import type { Prefetcher, PrefetchRow } from './prefetcher.ts'

/**
 * What the layer chose and how the pairs were counted is all it knows; a prediction is as long as one token's choice.
 */
export class HistoryPrefetcher implements Prefetcher {
  readonly #grid: ExpertGrid
  readonly #length: number
  /** Of each expert, how often each expert of the next layer was chosen after it, `[E]`. */
  readonly #followers = new Map<number, Uint32Array>()
  #before: Step | null = null

  /** @param length experts to predict at once */
  constructor(grid: ExpertGrid, length: number) {
    this.#grid = grid
    this.#length = length
  }

  observe(step: Step): void {
    const { experts } = this.#grid
    if (this.#before?.now === step.now - 1 && step.layer > 0) {
      for (const expert of this.#before.needed) {
        const counts = this.#followersOf(expert)
        for (const next of step.needed) counts[next % experts]! += 1
      }
    }
    this.#before = step
  }

  predict({ layer, needed }: Step): number[] {
    const { experts } = this.#grid
    const scores = new Float64Array(experts)
    for (const expert of needed)
      for (const [next, count] of this.#followersOf(expert).entries()) scores[next]! += count
    return Array.from(scores.keys())
      .filter(next => scores[next]! > 0)
      .sort((a, b) => scores[b]! - scores[a]! || a - b)
      .slice(0, this.#length)
      .map(next => (layer + 1) * experts + next)
  }

  #followersOf(expert: number): Uint32Array {
    const known = this.#followers.get(expert) ?? new Uint32Array(this.#grid.experts)
    this.#followers.set(expert, known)
    return known
  }
}

const schema = z.strictObject({ kind: z.literal('history') })
export const history: PrefetchRow<typeof schema> = {
  schema,
  make: (_, { grid, topK }) => new HistoryPrefetcher(grid, topK),
}
