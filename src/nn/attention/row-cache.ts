// Keys and values of earlier tokens in memory taken once, a row per token, so that each new token costs one position. Rows lie
// in pages (PagedAttention, arXiv:2309.06180 section 4).
// Shapes: B sequences, P pages of S tokens, at most M of a sequence, N new tokens, G heads that are kept, D and E widths of
// what is kept of each.

import { ConfigError, invariant } from '../../errors.ts'
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
  type Rows,
  rowsOf,
  rowsOfHeads,
  withTokens,
} from './kv-store.ts'
import { causalMask } from './mask.ts'
import { rotateRows, withinTokens } from './within-tokens.ts'

export interface RowCacheOptions {
  /** Most tokens of a sequence, prompt included. */
  capacity: number
  /** What keys and values are kept in. Default: what the model computes in, on whose device they are. */
  kv?: KvType | undefined
}

/** Where rows of sequences lie: page p of memory is rows p S .. (p + 1) S - 1, and a sequence has some pages in turn. */
export interface PageTable {
  /** S */
  readonly pageTokens: number
  /** P: pages of memory. */
  readonly count: number
  /** Pages of each of the B sequences, in order; those of tokens to come may be missing. */
  readonly pages: readonly (readonly number[])[]
}

/** A cache for every layer of a model. Not for training: what is stored carries no gradient. */
export class RowCache implements KvCache {
  readonly layers: readonly KvStore[]
  readonly capacity: number
  readonly kv: KvType
  readonly table: PageTable
  /** Earlier tokens of each sequence. */
  readonly lengths: number[]
  readonly #ownPlaces = new Places()
  /** Where the new tokens of these sequences go, until they are there. */
  #placed: { starts: readonly number[]; places: Places } | null = null

  /** @throws ConfigError for a capacity that cannot be, and a type that attention does not read beside the model's own */
  constructor(model: CachingModel, { capacity, kv }: RowCacheOptions, table: PageTable) {
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new ConfigError(`must be a positive number of positions, got ${capacity}`, {
        path: 'cache.capacity',
      })
    }
    this.capacity = capacity
    this.kv = kvTypeFor(model, kv)
    this.table = table
    this.lengths = table.pages.map(() => 0)
    this.layers = model.cacheShapes.map(shape => new LayerStore(shape, this, model))
  }

  /** What a layer keeps, [P * S, ...]. */
  rowsOfLayer(layer: number): { keys: Tensor; values: Tensor } {
    const { keys, values } = this.layers[layer] as LayerStore
    return { keys, values: values as Tensor }
  }

  /** M: most pages of a sequence. */
  get pagesOfEach(): number {
    return Math.ceil(this.capacity / this.table.pageTokens)
  }

  /** The rows of a sequence's tokens from .. to. */
  rowsOf(sequence: number, from: number, to: number): number[] {
    const { pageTokens, pages } = this.table
    const own = pages[sequence] ?? []
    return Array.from({ length: to - from }, (_, i) => {
      const page = own[Math.floor((from + i) / pageTokens)]
      invariant(page !== undefined, `sequence ${sequence} has no page for its token ${from + i}`)
      return page * pageTokens + ((from + i) % pageTokens)
    })
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
    const slots = sequences.flatMap(({ sequence }, b) =>
      this.rowsOf(sequence, this.lengths[sequence] ?? 0, ends[b] as number),
    )
    const pages = this.table.pages.flatMap(own =>
      Array.from({ length: this.pagesOfEach }, (_, i) => own[i] ?? -1),
    )
    const [{ keys }] = this.layers as [LayerStore]
    places.fill({ slots, lengths: ends, pages }, keys.device)
  }

  advance(starts: readonly number[]): void {
    for (const { sequence, length } of eachSequence(starts))
      this.lengths[sequence] = (this.lengths[sequence] ?? 0) + length
    this.#placed = null
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

interface PlacesOfTokens {
  slots: readonly number[]
  lengths: readonly number[]
  pages: readonly number[]
}

/** Where new tokens go. */
export class Places {
  #slots: Tensor | null = null
  #lengths: Tensor | null = null
  #pages: Tensor | null = null

  /** i64 [N]: their rows. */
  get slots(): Tensor {
    return this.#slots as Tensor
  }

  /** i64 [B], on the host: tokens of each sequence, the new ones among them. */
  get lengths(): Tensor {
    return this.#lengths as Tensor
  }

  /** i64 [B * M], on the host: the pages of each sequence; -1 for those that it does not have. */
  get pages(): Tensor {
    return this.#pages as Tensor
  }

  /** Writes them into the tensors that there are, if there are as many. */
  fill({ slots, lengths, pages }: PlacesOfTokens, device: Device): void {
    this.#slots = renewed(this.#slots, slots, device)
    this.#lengths = renewed(this.#lengths, lengths, 'cpu')
    this.#pages = renewed(this.#pages, pages, 'cpu')
  }

  dispose(): void {
    for (const tensor of [this.#slots, this.#lengths, this.#pages]) tensor?.dispose()
    this.#slots = null
    this.#lengths = null
    this.#pages = null
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
  readonly keys: Tensor // [P * S, G * E]
  readonly values: Tensor | null // [P * S, G * E]
  readonly #shape: CacheShape
  readonly #cache: RowCache
  readonly #form: KvForm
  /** Whether rows are kept as something else than what attention computes with. */
  readonly #isEncoded: boolean

  constructor(shape: CacheShape, cache: RowCache, { dtype, device }: CachingModel) {
    const rows = cache.table.count * cache.table.pageTokens
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

  /** Cached rows as heads, [P, S, G, E], and the width of values, which follow from the keys where they are latent. */
  #heads(latent: AttendOptions['latent']): { keys: Tensor; values: Tensor; valueWidth: number } {
    const { count, pageTokens } = this.#cache.table
    const of = (rows: Tensor, heads: number): Tensor => rows.view([count, pageTokens, heads, -1])
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
    const { lengths, pages } = this.#cache.place(starts)
    const table = pages.view([-1, this.#cache.pagesOfEach]) // [B, M]
    const [k, v] = [keys.transpose(1, 2), values.transpose(1, 2)] // [P, G, S, E]
    // As wide as blocks have room for.
    const mixed = kernel(heads, k, v, starts, lengths, table, scale, window ?? 0, sinks)
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
        const decoded = this.#form.decode(this.#seen(kept, rows, past + rows.length), width, queries.dtype)
        return decoded.transpose(1, 2) // [b, G, s, width]
      }
      const { device } = queries
      const blocked = isCausal ? causalMask(rows.length, { past, window, device }) : null
      const heads = headsOf(queries, rows, keyWidth)
      const extra = { scale, blocked, sinks, bias: bias?.(past, rows.length) ?? null }
      return rowsOfHeads(attend(heads, seen(keys, keyWidth), seen(values, valueWidth), extra))
    })
    return mixed.length === 1 ? (mixed[0] as Tensor) : cat(mixed)
  }

  /** The first `length` tokens of each of some sequences, [b, length, G, E], of all that is kept [P, S, G, E]. */
  #seen(kept: Tensor, { sequence, sequences }: Rows, length: number): Tensor {
    const { pages } = this.#cache.table
    const own = pages.slice(sequence, sequence + sequences)
    const first = own[0]?.[0] ?? 0
    const isRun = this.#cache.pagesOfEach === 1 && own.every(([page], i) => page === first + i)
    if (isRun) return kept.narrow(0, first, sequences).narrow(1, 0, length)
    const rows = Array.from({ length: sequences }, (_, i) => this.#cache.rowsOf(sequence + i, 0, length))
    const indices = tensor(Int32Array.from(rows.flat())).to(kept.device)
    return kept
      .flatten(0, 1)
      .indexSelect(0, indices)
      .view([sequences, length, ...kept.shape.slice(2)])
  }
}
