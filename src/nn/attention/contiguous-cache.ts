// Keys and values of sequences that come and go together: each in one stretch of memory.

import { noGrad, type Tensor, tensor, tidy } from '../../torch/index.ts'
import type { CachingModel } from './kv-store.ts'
import { RowCache, type RowCacheOptions } from './row-cache.ts'

export interface CacheOptions extends RowCacheOptions {
  /** Default 1. */
  sequences?: number
}

/** A cache in which the rows of sequence b begin at b times its capacity. */
export class ContiguousCache extends RowCache {
  constructor(model: CachingModel, { sequences = 1, ...options }: CacheOptions) {
    const pages = Array.from({ length: sequences }, (_, sequence) => [sequence])
    super(model, options, { pageTokens: options.capacity, count: sequences, pages })
  }

  /** Sequence b becomes what sequence `from[b]` was. */
  reorder(from: readonly number[]): void {
    if (from.every((sequence, b) => sequence === b)) return
    const lengths = from.map(sequence => this.lengths[sequence] ?? 0)
    const longest = Math.max(...lengths)
    noGrad(() =>
      tidy(() => {
        for (const layer of this.layers.keys()) {
          const { keys, values }: { keys: Tensor; values: Tensor | null } = this.rowsOfLayer(layer) // latent rows are keys alone
          const order = tensor(Int32Array.from(from)).long().to(keys.device)
          for (const rows of values ? [keys, values] : [keys]) {
            const kept = rows.view([from.length, this.capacity, -1]).narrow(1, 0, longest)
            kept.copy_(kept.indexSelect(0, order))
          }
        }
      }),
    )
    this.lengths.splice(0, lengths.length, ...lengths)
  }
}
