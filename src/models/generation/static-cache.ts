// Keys and values whose memory and shapes never change, so that a decoding step can be captured as a CUDA graph: how many
// positions each text has is known to the device alone.
// Shapes: B batch, H heads, G heads that are kept, D width of what is kept of each.

import { ConfigError } from '../../errors.ts'
import type { CacheShape, KeyValueStore } from '../../nn/index.ts'
import { attentionDecode, noGrad, type Tensor, tidy, zeros } from '../../torch/index.ts'
import type { KeyValueCache } from '../decoder.ts'
import type { CacheOptions, CachingModel, PreallocatedCache } from './cache.ts'

/** One layer's part. */
class StaticStore implements KeyValueStore {
  readonly keys: Tensor // [B, G, capacity, D]
  readonly values: Tensor
  readonly #cache: StaticCache

  constructor(shape: CacheShape, cache: StaticCache, model: CachingModel, batch: number) {
    const { dtype, device } = model
    // Zeros and not whatever was there: what is beyond a text's end is multiplied by 0.
    const take = ([heads, width]: [number, number]): Tensor =>
      zeros([batch, heads, cache.capacity, width], { dtype, device }).persist()
    this.keys = take(shape.keys)
    this.values = take(shape.values)
    this.#cache = cache
  }

  append(): never {
    throw new ConfigError('attends itself: only grouped-query attention can use it', { path: 'cache' })
  }

  attend(
    queries: Tensor, // [B, H, 1, D]
    keys: Tensor, // [B, G, 1, D]
    values: Tensor,
    { scale, window }: { scale: number; window: number | null },
  ): Tensor {
    const { lengths, visible } = this.#cache
    const write = (into: Tensor, fresh: Tensor): void => {
      const place = lengths.long().view([-1, 1, 1, 1]).expand(fresh.shape)
      into.scatter_(2, place, fresh)
    }
    write(this.keys, keys)
    write(this.values, values)
    return attentionDecode(queries.squeeze(2), this.keys, this.values, visible, scale, window ?? 0).unsqueeze(
      2,
    )
  }
}

/** A cache for decoding one position of each text at a time, after a prefill that another cache has taken. */
export class StaticCache implements KeyValueCache {
  readonly capacity: number
  /** i32 [B]: positions that each text has. */
  readonly lengths: Tensor
  /** i32 [B]: with the one that is being added. */
  readonly visible: Tensor
  readonly layers: StaticStore[]

  constructor(model: CachingModel, { batchSize = 1, capacity }: CacheOptions) {
    this.capacity = capacity
    const counts = (): Tensor => zeros([batchSize], { dtype: 'i32', device: model.device }).persist()
    this.lengths = counts()
    this.visible = counts()
    this.layers = model.cacheShapes.map(shape => new StaticStore(shape, this, model, batchSize))
  }

  /** Only the device knows: what depends on it takes `positions`. */
  get length(): number {
    return 0
  }

  /** i64 [B, 1]: where the next position of each text is. */
  get positions(): Tensor {
    return this.lengths.long().unsqueeze(1)
  }

  /** Takes over a prefill of prompts that were padded on the left. */
  fill(prefilled: PreallocatedCache, prompts: readonly number[]): void {
    const longest = prefilled.length
    noGrad(() =>
      tidy(() => {
        for (const [i, store] of this.layers.entries()) {
          for (const [row, length] of prompts.entries()) {
            const real = (kept: Tensor): Tensor => kept.select(0, row).narrow(1, longest - length, length)
            const from = prefilled.layers[i]
            if (!from) continue
            store.keys.select(0, row).narrow(1, 0, length).copy_(real(from.keys))
            store.values.select(0, row).narrow(1, 0, length).copy_(real(from.values))
          }
        }
        for (const [row, length] of prompts.entries()) this.lengths.narrow(0, row, 1).fill_(length)
      }),
    )
  }

  /** Runs a decoding step, which every layer takes part in. */
  step<T>(body: () => T): T {
    this.visible.copy_(this.lengths).add_(1)
    const result = body()
    this.lengths.add_(1)
    return result
  }

  dispose(): void {
    const layers = this.layers.flatMap(({ keys, values }) => [keys, values])
    for (const tensor of [this.lengths, this.visible, ...layers]) tensor.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}
