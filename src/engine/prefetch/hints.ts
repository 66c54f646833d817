// By hints: what a token chose in an earlier recording, by its id alone. Routers of many models decide much by the token
// itself, and hash routers everything (arXiv:2106.04426).

import { z } from 'zod'
import type { ExpertGrid } from '../cache/policy.ts'
import type { Step } from '../trace/choices.ts'
import { type HintTable, readHints } from './hint-table.ts'
import { layersAfter, layersAhead, type Prefetcher, type PrefetchRow } from './prefetcher.ts'

export class HintsPrefetcher implements Prefetcher {
  readonly #grid: ExpertGrid
  readonly #hints: HintTable['hints']

  readonly #ahead: number

  /** @param ahead layers that are read. Default 1 */
  constructor({ hints, ...grid }: Pick<HintTable, 'hints'> & ExpertGrid, ahead = 1) {
    this.#grid = grid
    this.#hints = hints
    this.#ahead = ahead
  }

  observe(): void {}

  predict({ layer, ids }: Pick<Step, 'layer' | 'ids'>): number[] {
    const numbers = layersAfter(layer, this.#ahead, this.#grid).flatMap(next =>
      ids.flatMap(id =>
        (this.#hints.get(id)?.[next] ?? []).map(expert => next * this.#grid.experts + expert),
      ),
    )
    return [...new Set(numbers)]
  }

  foresee(ids: readonly number[]): number[] {
    return this.predict({ layer: -1, ids })
  }
}

const schema = z.strictObject({ kind: z.literal('hints'), file: z.string().min(1), layers: layersAhead })
export const hints: PrefetchRow<typeof schema> = {
  schema,
  make: ({ file, layers }, { grid }) => new HintsPrefetcher(readHints(file, grid), layers),
}
