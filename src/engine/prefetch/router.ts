// By routers: those of the next layers are asked about what this layer reads, as each layer adds little to the hidden state
// ("speculative expert loading", arXiv:2312.17238, section 3.2, which asks the next one).
// Shapes: T tokens, K choices.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { tidy } from '../../torch/index.ts'
import type { ExpertGrid } from '../cache/policy.ts'
import type { Step } from '../trace/choices.ts'
import { layersAfter, type ModelSight, type Prefetcher, type PrefetchRow } from './prefetcher.ts'

/** Layers that are asked. The second is less sure, and has twice the time to come. */
const lookahead = 2

export class RouterPrefetcher implements Prefetcher {
  readonly #grid: ExpertGrid
  readonly #model: ModelSight

  constructor(grid: ExpertGrid, model: ModelSight) {
    this.#grid = grid
    this.#model = model
  }

  observe(): void {}

  predict({ layer }: Step): number[] {
    return layersAfter(layer, lookahead, this.#grid).flatMap(next => this.#ask(next))
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

const schema = z.strictObject({ kind: z.literal('router') })
export const router: PrefetchRow<typeof schema> = {
  schema,
  make(_, { grid, model }) {
    if (model) return new RouterPrefetcher(grid, model)
    throw new ConfigError("'router' asks a running model, and a recording has none; take history or hints", {
      path: 'prefetch',
    })
  },
}
