// The experts of a model that are in memory, of those that are in its files: what is needed is brought, in waves where not
// all of it fits at once, while what came before is computed.

import { ConfigError } from '../../errors.ts'
import type { CachePolicy } from '../cache/policy.ts'
import type { Prefetcher } from '../prefetch/prefetcher.ts'
import type { Step } from '../trace/choices.ts'
import { bytesOf } from './expert-kind.ts'
import { ExpertUses } from './expert-uses.ts'
import type { LayerRows } from './layer-rows.ts'
import { LayerWaves, type Wave } from './layer-waves.ts'
import { ReadAhead } from './read-ahead.ts'
import { Residents, type ResidentsOptions } from './residents.ts'
import type { StoreCounts } from './store-counts.ts'
import { warmUp } from './warm-start.ts'

export interface StoreOptions extends ResidentsOptions {
  /** What guesses which experts are needed next. Default null: nobody does. */
  prefetcher?: Prefetcher | null
}

/** New tokens that pass the model together. */
export interface Pass {
  ids: readonly number[]
  /** Whether a text begins with them. */
  begins: boolean
  /** Whether they are one of each text, as in decoding. */
  isDecoding: boolean
}

export class ExpertStore implements Disposable {
  /** Reads what is guessed; null where nothing is. */
  readonly ahead: ReadAhead | null
  readonly #residents: Residents
  readonly #policy: CachePolicy
  readonly #uses: ExpertUses
  #ids: readonly number[] = []
  #begins = false
  #now = 0
  #lastLayer = -1

  /** Layers of one kind of experts share its places, of which each kind has as many per layer. */
  constructor(layers: readonly LayerRows[], { prefetcher = null, ...options }: StoreOptions) {
    this.#residents = new Residents(layers, options)
    this.#policy = options.policy
    this.#uses = new ExpertUses({ layers: layers.length, experts: options.experts })
    this.ahead = prefetcher && new ReadAhead(this.#residents, prefetcher)
  }

  get counts(): StoreCounts {
    return this.#residents.counts
  }

  /** Experts of all layers. */
  get total(): number {
    return this.#residents.layers * this.#residents.experts
  }

  /**
   * Goes on from what an earlier store of the model has counted: the most used experts are read while nothing else is
   * needed, and policies that count begin with these counts. Before anything is brought.
   *
   * @param uses as `uses` of that store
   * @throws ConfigError for counts of another number of experts
   */
  recall(uses: readonly number[]): void {
    if (uses.length !== this.total)
      throw new ConfigError(`${uses.length} counts for ${this.total} experts`, { path: 'uses' })
    this.#uses.add(uses)
    this.#policy.start?.(uses)
    warmUp(this.#residents, uses)
  }

  /** `[layers * experts]`: how often each was used, of which the past counts less and less. */
  get uses(): number[] {
    return this.#uses.counts
  }

  /** Of the places for experts. */
  get bytes(): number {
    return [...this.#residents.places].reduce((sum, { kind, pool }) => sum + pool.capacity * bytesOf(kind), 0)
  }

  /** Experts that can be resident. */
  get capacity(): number {
    return [...this.#residents.places].reduce((sum, { pool }) => sum + pool.capacity, 0)
  }

  /** Tokens are about to pass all layers. */
  beginPass({ ids, begins, isDecoding }: Pass): void {
    this.#ids = ids
    this.#begins = begins
    if (begins) this.#policy.begin?.()
    this.ahead?.beginPass(isDecoding)
  }

  /**
   * Brings experts of a layer into memory, those first that are there. Each wave stays while it is being used, and the
   * next is read meanwhile; once all reads have begun, guesses of what comes after may.
   *
   * @param needed distinct numbers within the layer
   * @throws FormatError when a file cannot be read; the store goes on
   */
  *bring(layer: number, needed: readonly number[]): Generator<Wave> {
    const step = this.#step(layer, needed)
    this.#uses.note(step)
    this.ahead?.judge(step)
    const waves = new LayerWaves(this.#residents, step, this.ahead)
    const { here, coming, missing } = waves
    this.counts.note(layer, { uses: needed.length, hits: here.length + coming.length })
    let hasGuessed = false
    const begin = (most: number): void => {
      waves.begin(most)
      if (waves.haveBegun && !hasGuessed) this.ahead?.guess(step, waves.pinned)
      hasGuessed = waves.haveBegun
    }
    try {
      begin(1)
      for (const wave of [here, coming]) if (wave.length > 0) yield* waves.use(wave)
      for (const [i, wave] of missing.entries()) {
        begin(i + 2)
        yield* waves.use(wave)
      }
    } finally {
      waves.settle()
      // Whoever has the last wave need not come back.
      if (waves.areServed && layer === this.#residents.layers - 1) this.ahead?.endPass()
    }
  }

  #step(layer: number, needed: readonly number[]): Step {
    const { experts } = this.#residents
    return {
      ids: this.#ids,
      begins: this.#begins && layer === 0,
      now: this.#advance(layer),
      layer,
      needed: needed.map(expert => layer * experts + expert),
    }
  }

  /** Counts layers that have run: see CachePolicy. */
  #advance(layer: number): number {
    const { layers } = this.#residents
    this.#now += layer > this.#lastLayer ? layer - this.#lastLayer : layers - this.#lastLayer + layer
    this.#lastLayer = layer
    return this.#now
  }

  [Symbol.dispose](): void {
    this.#residents[Symbol.dispose]()
  }
}
