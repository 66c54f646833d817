// Keys and values of earlier tokens in memory taken once, a row per token, so that each new token costs one position.
// Shapes: B sequences, C capacity of each, N new tokens, G heads that are kept, D and E widths of what is kept of each.

import { ConfigError } from '../../errors.ts'
import {
  type attentionCached,
  cat,
  type Device,
  empty,
  kernelFor,
  noGrad,
  refuseTape,
  type Tensor,
  tensor,
  tidy,
} from '../../torch/index.ts'
import { attend } from './attend.ts'
import { type KvForm, type KvType, kvFormOf, kvTypeFor } from './kv-form.ts'
import {
  type AttendOptions,
  type CacheShape,
  type CachingModel,
  eachSequence,
  headsOf,
  type KvCache,
  type KvStore,
  rowsOf,
  rowsOfHeads,
  withTokens,
} from './kv-store.ts'
import { causalMask } from './mask.ts'
import { rotateRows, withinTokens } from './within-tokens.ts'

export interface CacheOptions {
  /** Default 1. */
  sequences?: number
  /** Most tokens of a sequence, prompt included. */
  capacity: number
  /** What keys and values are kept in. Default: what the model computes in, on whose device they are. */
  kv?: KvType | undefined
}

/** A cache for every layer of a model. Not for training: what is stored carries no gradient. */
export class ContiguousCache implements KvCache {
  readonly layers: readonly KvStore[]
  readonly capacity: number
  readonly kv: KvType
  /** Earlier tokens of each sequence. */
  readonly lengths: number[]
  readonly #ownPlaces = new Places()
  /** Where the new tokens of these sequences go, until they are there. */
  #placed: { starts: readonly number[]; places: Places } | null = null

  /** @throws ConfigError for a capacity that cannot be, and a type that attention does not read beside the model's own */
  constructor(model: CachingModel, { sequences = 1, capacity, kv }: CacheOptions) {
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new ConfigError(`must be a positive number of positions, got ${capacity}`, {
        path: 'cache.capacity',
      })
    }
    this.capacity = capacity
    this.kv = kvTypeFor(model, kv)
    this.lengths = new Array<number>(sequences).fill(0)
    this.layers = model.cacheShapes.map(shape => new LayerStore(shape, this, model))
  }

  /** What a layer keeps, [B * C, ...]: the rows of sequence b begin at b C. */
  rowsOfLayer(layer: number): { keys: Tensor; values: Tensor } {
    const { keys, values } = this.layers[layer] as LayerStore
    return { keys, values: values as Tensor }
  }

  /**
   * Where new tokens go, the same for all layers.
   *
   * @param into tensors for it, which stay while there are as many tokens. Default: the cache's own
   */
  place(starts: readonly number[], into: Places = this.#ownPlaces): Places {
    if (this.#placed?.starts !== starts) {
      if (into === this.#ownPlaces) into.dispose() // others may be inference's own, or not
      this.#fill(into, starts)
      this.#placed = { starts, places: into }
    }
    return this.#placed.places
  }

  #fill(places: Places, starts: readonly number[]): void {
    const sequences = eachSequence(starts)
    const ends = sequences.map(({ sequence, length }) => (this.lengths[sequence] ?? 0) + length)
    const tooLong = ends.find(end => end > this.capacity)
    if (tooLong !== undefined) {
      throw new ConfigError(`${tooLong} tokens, but the cache has room for ${this.capacity}`, {
        path: 'cache.capacity',
      })
    }
    const slots = sequences.flatMap(({ sequence, length }) =>
      Array.from({ length }, (_, i) => sequence * this.capacity + (this.lengths[sequence] ?? 0) + i),
    )
    const [{ keys }] = this.layers as [LayerStore]
    places.fill(slots, ends, keys.device)
  }

  advance(starts: readonly number[]): void {
    for (const { sequence, length } of eachSequence(starts))
      this.lengths[sequence] = (this.lengths[sequence] ?? 0) + length
    this.#placed = null
  }

  /** Gives one sequence the first `length` tokens of another in place of its own. */
  share(from: number, to: number, length: number): void {
    const rows = (kept: Tensor, sequence: number): Tensor => kept.narrow(0, sequence * this.capacity, length)
    noGrad(() =>
      tidy(() => {
        for (const { keys, values } of this.layers as LayerStore[])
          for (const kept of [keys, values]) if (kept) rows(kept, to).copy_(rows(kept, from))
      }),
    )
    this.lengths[to] = length
  }

  dispose(): void {
    this.#ownPlaces.dispose()
    for (const { keys, values } of this.layers as LayerStore[]) {
      keys.dispose()
      values?.dispose()
    }
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Where new tokens go. */
export class Places {
  #slots: Tensor | null = null
  #lengths: Tensor | null = null

  /** i64 [N]: their rows. */
  get slots(): Tensor {
    return this.#slots as Tensor
  }

  /** i64 [B], on the host: tokens of each sequence, the new ones among them. */
  get lengths(): Tensor {
    return this.#lengths as Tensor
  }

  /** Writes numbers of rows and lengths into the tensors that there are, if there are as many. */
  fill(slots: readonly number[], lengths: readonly number[], device: Device): void {
    this.#slots = renewed(this.#slots, slots, device)
    this.#lengths = renewed(this.#lengths, lengths, 'cpu')
  }

  dispose(): void {
    this.#slots?.dispose()
    this.#lengths?.dispose()
    this.#slots = null
    this.#lengths = null
  }
}

/** An i64 tensor of these values: the known one where it is as long. */
function renewed(known: Tensor | null, values: readonly number[], device: Device): Tensor {
  return noGrad(() =>
    tidy(() => {
      const fresh = tensor(Int32Array.from(values)).long().to(device)
      if (known?.numel === values.length) return known.copy_(fresh)
      known?.dispose()
      return fresh.persist()
    }),
  )
}

/** One layer's rows, of E elements for a head's D (KvForm). */
class LayerStore implements KvStore {
  readonly keys: Tensor // [B * C, G * E]
  readonly values: Tensor | null // [B * C, G * E]
  readonly #shape: CacheShape
  readonly #cache: ContiguousCache
  readonly #form: KvForm
  /** Whether rows are kept as something else than what attention computes with. */
  readonly #isEncoded: boolean

  constructor(shape: CacheShape, cache: ContiguousCache, { dtype, device }: CachingModel) {
    const rows = cache.lengths.length * cache.capacity
    const form = kvFormOf(cache.kv)
    const take = ([heads, width]: readonly [number, number]): Tensor =>
      empty([rows, heads * form.elements(width)], { dtype: form.dtype, device }).persist()
    this.keys = take(shape.keys)
    this.values = shape.values && take(shape.values)
    this.#shape = shape
    this.#cache = cache
    this.#form = form
    this.#isEncoded = cache.kv !== dtype
  }

  attend(queries: Tensor, keys: Tensor, values: Tensor | null, options: AttendOptions): Tensor {
    const { rotation, headDim, latent } = options
    const turn = (x: Tensor): Tensor => (latent ? x : rotateRows(x, rotation, headDim))
    const turned = turn(keys)
    noGrad(() => this.#append(turned, values, options.starts))
    const isFirst = this.#cache.lengths.every(length => length === 0)
    const kernel = this.#kernel(queries, options)
    // Heads written out are cheapest where nothing is cached; so is the kernel of training where there is no other.
    if (isFirst && latent) return withinTokens.attend(queries, this.#asKept(keys), null, options)
    if (isFirst && !kernel && !this.#isEncoded) return withinTokens.attend(queries, keys, values, options)
    const asked = latent ? latent.absorb(queries) : turn(queries)
    const mixed = kernel ? this.#fused(kernel, asked, options) : this.#reference(asked, options)
    return latent ? latent.release(mixed) : mixed
  }

  #append(keys: Tensor, values: Tensor | null, starts: readonly number[]): void {
    const { slots } = this.#cache.place(starts)
    const shape = this.#shape
    this.keys.indexCopy_(0, slots, this.#form.encode(keys, shape.keys[1]))
    if (values && shape.values) this.values?.indexCopy_(0, slots, this.#form.encode(values, shape.values[1]))
  }

  /** Latent rows [N, W] as later tokens will see them, so that it does not matter which are read together. */
  #asKept(rows: Tensor): Tensor {
    const [, width] = this.#shape.keys
    return this.#isEncoded ? this.#form.decode(this.#form.encode(rows, width), width, rows.dtype) : rows
  }

  #kernel(queries: Tensor, { isCausal, bias }: AttendOptions): typeof attentionCached | null {
    if (!isCausal || bias) return null
    return kernelFor('attentionCached', queries, ...(this.#isEncoded ? [] : [this.keys]))
  }

  /** Cached rows as heads, [B, C, G, E], and the width of values, which follow from the keys where they are latent. */
  #heads(latent: AttendOptions['latent']): { keys: Tensor; values: Tensor; valueWidth: number } {
    const { capacity, lengths } = this.#cache
    const of = (rows: Tensor, heads: number): Tensor => rows.view([lengths.length, capacity, heads, -1])
    const keys = of(this.keys, this.#shape.keys[0])
    if (latent) {
      const { valueWidth } = latent
      return { keys, values: keys.narrow(-1, 0, this.#form.elements(valueWidth)), valueWidth }
    }
    const [groups, valueWidth] = this.#shape.values as readonly [number, number]
    return { keys, values: of(this.values as Tensor, groups), valueWidth }
  }

  #fused(kernel: typeof attentionCached, queries: Tensor, options: AttendOptions): Tensor {
    const { starts, scale, window, sinks, latent } = options
    const { keys, values, valueWidth } = this.#heads(latent)
    const heads = queries.view([queries.size(0), -1, this.#shape.keys[1]]) // [N, H, D]
    const { lengths } = this.#cache.place(starts)
    const [k, v] = [keys.transpose(1, 2), values.transpose(1, 2)] // [B, G, C, E]
    const mixed = kernel(heads, k, v, starts, lengths, scale, window ?? 0, sinks) // as wide as blocks have room for
    return mixed.narrow(-1, 0, valueWidth).flatten(1)
  }

  #reference(queries: Tensor, options: AttendOptions): Tensor {
    const { starts, scale, isCausal, window, sinks, bias, latent } = options
    refuseTape('the host counts what is cached')
    const { lengths } = this.#cache
    const { keys, values, valueWidth } = this.#heads(latent)
    const keyWidth = this.#shape.keys[1]
    const isEven = lengths.every(length => length === lengths[0])
    const groups = withTokens(isEven ? rowsOf(starts) : eachSequence(starts))
    const mixed = groups.map(rows => {
      const past = lengths[rows.sequence] ?? 0
      const seen = (kept: Tensor, width: number): Tensor => {
        const rowsSeen = kept.narrow(0, rows.sequence, rows.sequences).narrow(1, 0, past + rows.length)
        return this.#form.decode(rowsSeen, width, queries.dtype).transpose(1, 2) // [B, G, S, width]
      }
      const { device } = queries
      const blocked = isCausal ? causalMask(rows.length, { past, window, device }) : null
      const heads = headsOf(queries, rows, keyWidth)
      const extra = { scale, blocked, sinks, bias: bias?.(past, rows.length) ?? null }
      return rowsOfHeads(attend(heads, seen(keys, keyWidth), seen(values, valueWidth), extra))
    })
    return mixed.length === 1 ? (mixed[0] as Tensor) : cat(mixed)
  }
}
