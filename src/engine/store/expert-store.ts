// The experts of a model that are in memory, of those that are in its files: what is needed is brought, in waves where not
// all of it fits at once, while what came before is computed.

import { ConfigError } from '../../errors.ts'
import type { GgmlTypeName } from '../../formats/index.ts'
import type { CachePolicy } from '../cache/policy.ts'
import type { Prefetcher } from '../prefetch/prefetcher.ts'
import type { Step } from '../trace/choices.ts'
import { ExpertCopies } from './copies.ts'
import { DeviceTier, type DeviceTierOptions } from './device-tier.ts'
import { bytesOf } from './expert-kind.ts'
import { ExpertUses } from './expert-uses.ts'
import { LayerClock } from './layer-clock.ts'
import type { LayerRows } from './layer-rows.ts'
import { LayerWaves, type Wave } from './layer-waves.ts'
import type { OnMiss } from './on-miss.ts'
import type { Pass } from './pass.ts'
import { ReadAhead } from './read-ahead.ts'
import { ReadBehind } from './read-behind.ts'
import { Residents, type ResidentsOptions } from './residents.ts'
import type { ExpertNumber } from './slots.ts'
import type { StoreCounts } from './store-counts.ts'
import { warmUp } from './warm-start.ts'

export interface StoreOptions extends ResidentsOptions {
  /** What guesses which experts are needed next. Default null: nobody does. */
  prefetcher?: Prefetcher | null
  /** What becomes of experts that are not in memory. Default: they are read. */
  onMiss?: OnMiss
  /** Where a model computes on a device: what is there. Default: it computes in host memory. */
  device?: Omit<DeviceTierOptions, 'experts'> | null
}

export class ExpertStore implements Disposable {
  /** Reads what is guessed; null where nothing is. */
  readonly ahead: ReadAhead | null
  /** Experts on the device that computes; null where that is host memory. */
  readonly device: DeviceTier | null
  readonly #residents: Residents
  readonly #policy: CachePolicy
  readonly #uses: ExpertUses
  readonly #behind: ReadBehind
  /** Of all experts, where they stand in for those that do not fit. */
  readonly #copies: ExpertCopies | null
  readonly #isAmongResidents: boolean
  /** Of each token that passes; null: as for all. */
  #choosing: readonly (OnMiss['kind'] | null)[] = []
  #isDecoding = false
  #ids: readonly number[] = []
  #begins = false
  readonly #clock: LayerClock

  /** Layers of one kind of experts share its places, of which each kind has as many per layer. */
  constructor(
    layers: readonly LayerRows[],
    { prefetcher = null, onMiss = { kind: 'read' }, device = null, ...options }: StoreOptions,
  ) {
    this.#residents = new Residents(layers, options)
    this.#behind = new ReadBehind(this.#residents)
    this.#policy = options.policy
    this.#isAmongResidents = onMiss.kind === 'resident'
    this.#clock = new LayerClock(layers.length)
    this.#uses = new ExpertUses({ layers: layers.length, experts: options.experts })
    this.ahead = prefetcher && new ReadAhead(this.#residents, prefetcher)
    const hasCopies = onMiss.kind === 'copy' && this.capacity < this.total
    this.#copies = hasCopies ? this.#copied(layers, onMiss.type) : null
    this.device = device && this.#below(layers, { ...device, experts: options.experts })
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
  beginPass(pass: Pass): void {
    const { ids, begins, isDecoding } = pass
    this.#isDecoding = isDecoding
    this.#ids = ids
    this.#begins = begins
    if (begins) this.#policy.begin?.()
    if (begins) this.device?.begin()
    this.ahead?.beginPass(pass, this.#clock.now)
  }

  /** What becomes of experts that are not there, for each text whose token passes next; null: what becomes of them for all. */
  letChoose(onMiss: readonly ('read' | 'resident' | null)[]): void {
    this.#choosing = onMiss
  }

  /** Which of the tokens that pass choose among experts in memory: in decoding, where each is of a text of its own. */
  choosingAmongResidents(tokens: number): boolean[] {
    const isAmong = (kind: OnMiss['kind'] | null | undefined): boolean =>
      this.#isDecoding && (kind ? kind === 'resident' : this.#isAmongResidents)
    return Array.from({ length: tokens }, (_, token) => isAmong(this.#choosing[token]))
  }

  /** Experts of a layer that are in memory now, by their number within it. @throws FormatError for what was read in vain */
  residentsOf(layer: number): number[] {
    this.#behind.settle()
    const { experts } = this.#residents
    return Array.from({ length: experts }, (_, expert) => expert).filter(expert =>
      this.#residents.isHere(layer * experts + expert),
    )
  }

  /** Begins to read experts that a layer does without, and uses others. @throws FormatError when a file has changed */
  readBehind(layer: number, missed: readonly number[], used: readonly number[]): void {
    const [behind, pinned] = [this.#numbers(layer, missed), this.#numbers(layer, used)]
    this.#behind.begin(behind, this.#clock.now, pinned)
  }

  /**
   * Brings experts of a layer into memory, those first that are there. Each wave stays while it is being used, and the
   * next is read meanwhile; once all reads have begun, guesses of what comes after may.
   *
   * @param needed distinct numbers within the layer
   * @param used all that the layer needs, wherever it is. Default: `needed`
   * @throws FormatError when a file cannot be read; the store goes on
   */
  *bring(layer: number, needed: readonly number[], used = needed): Generator<Wave> {
    const step = this.#step(layer, needed)
    this.#uses.note(used === needed ? step : { ...step, needed: this.#numbers(layer, used) })
    if (this.#copies) yield* this.#standIn(step, this.#copies)
    else yield* this.#bring(step)
  }

  *#bring(step: Step): Generator<Wave> {
    this.ahead?.judge(step)
    const waves = new LayerWaves(this.#residents, step, this.ahead)
    const { here, coming } = waves
    this.counts.note(step.layer, { uses: step.needed.length, hits: here.length + coming.length })
    try {
      yield* waves.inTurn(() => this.ahead?.guess(step, waves.pinned))
    } finally {
      // Whoever has the last wave need not come back.
      if (waves.areServed && step.layer === this.#residents.layers - 1) this.ahead?.endPass()
    }
  }

  /** What is here, and copies of the rest, which is read meanwhile. */
  *#standIn(step: Step, copies: ExpertCopies): Generator<Wave> {
    const { layer, needed, now } = step
    const { experts } = this.#residents
    this.#behind.settle()
    const slots = this.#residents.slotsFor(layer * experts)
    const here = needed.filter(number => this.#residents.isHere(number))
    const missed = needed.filter(number => !here.includes(number))
    for (const number of here) slots.pool.use(number, now)
    this.counts.note(layer, { uses: needed.length, hits: here.length })
    this.counts.copied += missed.length
    this.#behind.begin(missed, now, here)
    const places = here.map(number => [number % experts, slots.slotOf(number)] as const)
    if (here.length > 0) yield { slots, places: new Map(places) }
    const others = missed.map(number => number % experts)
    if (missed.length > 0) yield copies.wave(layer, others)
  }

  #below(layers: readonly LayerRows[], options: DeviceTierOptions): DeviceTier {
    return new DeviceTier(layers, (layer, needed, used) => this.bring(layer, needed, used), options)
  }

  /** Reads every expert once, of which the last stay. */
  #copied(layers: readonly LayerRows[], type: GgmlTypeName): ExpertCopies {
    const { experts } = this.#residents
    const copies = new ExpertCopies(layers, experts, type)
    try {
      const all = Array.from({ length: experts }, (_, expert) => expert)
      for (const layer of layers.keys())
        for (const wave of new LayerWaves(this.#residents, this.#step(layer, all), null).inTurn())
          copies.take(layer, wave)
      return copies
    } catch (error) {
      copies[Symbol.dispose]()
      this.#residents[Symbol.dispose]()
      throw error
    }
  }

  #step(layer: number, needed: readonly number[]): Step {
    return {
      ids: this.#ids,
      begins: this.#begins && layer === 0,
      now: this.#clock.advance(layer),
      layer,
      needed: this.#numbers(layer, needed),
    }
  }

  #numbers(layer: number, needed: readonly number[]): ExpertNumber[] {
    return needed.map(expert => layer * this.#residents.experts + expert)
  }

  [Symbol.dispose](): void {
    this.device?.[Symbol.dispose]()
    this.#copies?.[Symbol.dispose]()
    this.#residents[Symbol.dispose]()
  }
}
