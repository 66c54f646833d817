// Keys and values of past positions, so that each new token costs one position.
// Shapes: B batch, G heads that are kept, D width of what is kept of each.

import { ConfigError } from '../../errors.ts'
import type { CacheShape, KeyValueStore } from '../../nn/index.ts'
import { type Device, type DType, empty, noGrad, type Tensor } from '../../torch/index.ts'
import type { KeyValueCache } from '../decoder.ts'

/** One layer's keys and values in memory taken once for `capacity` positions. */
class LayerStore implements KeyValueStore {
  readonly keys: Tensor // [B, G, capacity, D]
  readonly values: Tensor
  length = 0

  constructor(shape: CacheShape, batch: number, capacity: number, options: { dtype: DType; device: Device }) {
    const take = ([heads, width]: [number, number]): Tensor =>
      empty([batch, heads, capacity, width], options).persist()
    this.keys = take(shape.keys)
    this.values = take(shape.values)
  }

  append(keys: Tensor, values: Tensor): [Tensor, Tensor] {
    const added = keys.size(2)
    noGrad(() => {
      this.keys.narrow(2, this.length, added).copy_(keys)
      this.values.narrow(2, this.length, added).copy_(values)
    })
    this.length += added
    return [this.keys.narrow(2, 0, this.length), this.values.narrow(2, 0, this.length)]
  }
}

export interface CacheOptions {
  batchSize?: number
  /** Most positions, prompt included. */
  capacity: number
}

/** What a cache needs to know of its model. */
export interface CachingModel {
  readonly cacheShapes: readonly CacheShape[]
  readonly dtype: DType
  readonly device: Device
}

/** A cache for every layer of a model, of its dtype and on its device. Not for training: what is stored carries no gradient. */
export class PreallocatedCache implements KeyValueCache {
  readonly layers: LayerStore[]
  readonly capacity: number

  constructor(model: CachingModel, { batchSize = 1, capacity }: CacheOptions) {
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new ConfigError(`must be a positive number of positions, got ${capacity}`, {
        path: 'cache.capacity',
      })
    }
    const { dtype, device } = model
    this.layers = model.cacheShapes.map(
      shape => new LayerStore(shape, batchSize, capacity, { dtype, device }),
    )
    this.capacity = capacity
  }

  get length(): number {
    return this.layers[0]?.length ?? 0
  }

  dispose(): void {
    for (const { keys, values } of this.layers) {
      keys.dispose()
      values.dispose()
    }
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}
