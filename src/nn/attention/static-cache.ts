// Keys and values whose memory and shapes never change, so that a decoding step can be captured as a CUDA graph: how many
// tokens each sequence has is known to the device alone.
// Shapes: B sequences, C capacity of each, H heads, G heads that are kept, D width of what is kept of each.

import { invariant } from '../../errors.ts'
import { attentionDecode, noGrad, type Tensor, tidy, zeros } from '../../torch/index.ts'
import type { CacheOptions, ContiguousCache } from './contiguous-cache.ts'
import type { AttendOptions, CacheShape, CachingModel, KvCache, KvStore } from './kv-store.ts'
import { rotateRows } from './within-tokens.ts'

/** A cache for decoding one token of each sequence at a time, after a prefill that another cache has taken. */
export class StaticCache implements KvCache {
  readonly capacity: number
  /** i32 [B]: tokens that each sequence has. */
  readonly lengths: Tensor
  /** i32 [B]: with the one that is being added. */
  readonly visible: Tensor
  readonly layers: readonly StaticStore[]

  constructor(model: CachingModel, { sequences = 1, capacity }: CacheOptions) {
    this.capacity = capacity
    const counts = (): Tensor => zeros([sequences], { dtype: 'i32', device: model.device }).persist()
    this.lengths = counts()
    this.visible = counts()
    this.layers = model.cacheShapes.map(shape => new StaticStore(shape, this, model, sequences))
  }

  /** i64 [B]: where the next token of each sequence is. */
  get positions(): Tensor {
    return this.lengths.long()
  }

  /** Takes over what a prefill has left. */
  fill(prefilled: ContiguousCache): void {
    noGrad(() =>
      tidy(() => {
        for (const [i, store] of this.layers.entries()) store.fill(prefilled, i)
        for (const [b, length] of prefilled.lengths.entries()) this.lengths.narrow(0, b, 1).fill_(length)
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

  /** step() counts, on the device. */
  advance(): void {}

  dispose(): void {
    const layers = this.layers.flatMap(({ keys, values }) => [keys, values])
    for (const tensor of [this.lengths, this.visible, ...layers]) tensor.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** One layer's part. */
class StaticStore implements KvStore {
  readonly keys: Tensor // [B, G, C, D]
  readonly values: Tensor
  readonly #cache: StaticCache

  constructor(shape: CacheShape, cache: StaticCache, { dtype, device }: CachingModel, sequences: number) {
    invariant(shape.values, 'a model with latent attention does not decode statically')
    // Zeros and not whatever was there: what is beyond a text's end is multiplied by 0.
    const take = ([heads, width]: readonly [number, number]): Tensor =>
      zeros([sequences, heads, cache.capacity, width], { dtype, device }).persist()
    this.keys = take(shape.keys)
    this.values = take(shape.values)
    this.#cache = cache
  }

  fill(prefilled: ContiguousCache, layer: number): void {
    const kept = prefilled.rowsOfLayer(layer)
    for (const [b, length] of prefilled.lengths.entries()) {
      for (const [into, from] of [
        [this.keys, kept.keys],
        [this.values, kept.values],
      ] as const) {
        const [, heads, , width] = into.shape as [number, number, number, number]
        const rows = from.narrow(0, b * prefilled.capacity, length).view([length, heads, width])
        into.select(0, b).narrow(1, 0, length).copy_(rows.transpose(0, 1))
      }
    }
  }

  attend(queries: Tensor, keys: Tensor, values: Tensor | null, options: AttendOptions): Tensor {
    const { rotation, headDim, scale, window } = options
    const heads = (x: Tensor): Tensor => x.view([x.size(0), -1, headDim]) // [B, heads, D]
    this.#write(this.keys, heads(rotateRows(keys, rotation, headDim)))
    this.#write(this.values, heads(values as Tensor))
    const asked = heads(rotateRows(queries, rotation, headDim))
    const { visible } = this.#cache
    return attentionDecode(asked, this.keys, this.values, visible, scale, window ?? 0).flatten(1)
  }

  /** fresh [B, G, D] */
  #write(into: Tensor, fresh: Tensor): void {
    const rows = fresh.unsqueeze(2)
    into.scatter_(2, this.#cache.lengths.long().view([-1, 1, 1, 1]).expand(rows.shape), rows)
  }
}
