// Keys and values of past positions, so that each new token costs one position.
// Shapes: B batch, G key/value heads, D head width.

import { ConfigError } from '../../errors.ts'
import type { KeyValueStore } from '../../nn/index.ts'
import { type Device, type DType, empty, noGrad, type Tensor } from '../../torch/index.ts'
import type { DecoderConfig } from '../config.ts'
import type { KeyValueCache } from '../decoder.ts'

/** One layer's keys and values in memory taken once for `capacity` positions. */
class LayerStore implements KeyValueStore {
  readonly keys: Tensor // [B, G, capacity, D]
  readonly values: Tensor
  length = 0

  constructor(shape: readonly [number, number, number, number], options: { dtype: DType; device: Device }) {
    this.keys = empty(shape, options).persist()
    this.values = empty(shape, options).persist()
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
  dtype?: DType
  device?: Device
}

/** A cache for every layer of a model. Not for training: what is stored carries no gradient. */
export class PreallocatedCache implements KeyValueCache {
  readonly layers: LayerStore[]
  readonly capacity: number

  constructor(
    config: DecoderConfig,
    { batchSize = 1, capacity, dtype = 'f32', device = 'cpu' }: CacheOptions,
  ) {
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new ConfigError(`must be a positive number of positions, got ${capacity}`, {
        path: 'cache.capacity',
      })
    }
    const shape = [batchSize, config.num_key_value_heads, capacity, config.head_dim] as const
    this.layers = Array.from(
      { length: config.num_hidden_layers },
      () => new LayerStore(shape, { dtype, device }),
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
