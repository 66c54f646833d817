// By routers: those of the next layers are asked about what this layer reads, as each layer adds little to the hidden state
// ("speculative expert loading", arXiv:2312.17238, section 3.2, which asks the next one).
// Shapes: T tokens, K choices.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { tidy } from '../../torch/index.ts'
import type { ExpertGrid } from '../cache/policy.ts'
import type { Step } from '../trace/choices.ts'
import { layersAfter, layersAhead, type ModelSight, type Prefetcher, type PrefetchRow } from './prefetcher.ts'

export class RouterPrefetcher implements Prefetcher {
  readonly #grid: ExpertGrid
  readonly #model: ModelSight

  readonly #ahead: number

  /** @param ahead layers that are asked. Default 1 */
  constructor(grid: ExpertGrid, model: ModelSight, ahead = 1) {
    this.#grid = grid
    this.#model = model
    this.#ahead = ahead
  }

  observe(): void {}

  /** Of each layer as many as this one needs, which may be fewer than routers choose: see serveFewer(). */
  predict({ layer, needed }: Step): number[] {
    return layersAfter(layer, this.#ahead, this.#grid).flatMap(next =>
      this.#ask(next).slice(0, needed.length),
    )
  }

  /** What a layer's router would choose now: first choices first. */
  #ask(layer: number): number[] {
    const { gates, input } = this.#model
    if (input === null) return []
    const chosen = tidy(() => {
      const routing = gates[layer]?.forward(input.x, input.context)
      return routing?.kind === 'token'
        ? [...routing.indices.t().reshape([-1]).to('i32').toTypedArray<'i32'>()]
        : []
    }) // [K * T]
    return [...new Set(chosen)]
      .filter(expert => expert >= 0)
      .map(expert => layer * this.#grid.experts + expert)
  }
}

const schema = z.strictObject({ kind: z.literal('router'), layers: layersAhead })
export const router: PrefetchRow<typeof schema> = {
  schema,
  make({ layers }, { grid, model }) {
    if (model) return new RouterPrefetcher(grid, model, layers)
    throw new ConfigError("'router' asks a running model, and a recording has none; take history or hints", {
      path: 'prefetch',
    })
  },
}
