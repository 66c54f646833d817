// The experts of a model that are in memory, of those that are in its files: what is needed is brought, in waves where not
// all of it fits at once, while what came before is computed.

import type { ExpertRows } from '../../models/index.ts'
import type { CachePolicy } from '../cache/policy.ts'
import type { ExpertFiles, PendingRead } from './expert-files.ts'
import { bytesOf, type ExpertKind, kindName, matrixKind } from './expert-kind.ts'
import { type ExpertNumber, ExpertSlots } from './slots.ts'
import { StoreCounts } from './store-counts.ts'

/** The matrices of a layer's experts, as files have them. */
export interface LayerRows {
  up: ExpertRows
  down: ExpertRows
}

/** Experts of one layer that are in memory together: the place of each. */
export interface Wave {
  slots: ExpertSlots
  /** By the expert's number within its layer. */
  places: ReadonlyMap<number, number>
}

export interface StoreOptions {
  /** Bytes that resident experts may take. */
  bytes: number
  /** Experts of each layer. */
  experts: number
  files: ExpertFiles
  policy: CachePolicy
}

export class ExpertStore implements Disposable {
  readonly counts = new StoreCounts()
  readonly #layers: readonly LayerRows[]
  readonly #slots: readonly ExpertSlots[] // of each layer; those of one kind share theirs
  readonly #experts: number
  readonly #files: ExpertFiles
  /** Matrices that are on their way. */
  readonly #reading = new Map<ExpertNumber, PendingRead[]>()
  #now = 0
  #lastLayer = -1

  /** Layers of one kind of experts share its places, of which each kind has as many per layer. */
  constructor(layers: readonly LayerRows[], { bytes, experts, files, policy }: StoreOptions) {
    this.#layers = layers
    this.#experts = experts
    this.#files = files
    const kinds = kindsOf(layers)
    const capacities = capacitiesOf([...kinds.values()], bytes, experts)
    const slots = new Map(
      [...kinds].map(([name, { kind }], i) => [name, new ExpertSlots(kind, capacities[i] as number, policy)]),
    )
    files.open(new Set(layers.flatMap(({ up, down }) => filesOf(up, experts).concat(filesOf(down, experts)))))
    this.#slots = layers.map(rows => slots.get(kindName(kindOf(rows))) as ExpertSlots)
  }

  /** Experts of all layers. */
  get total(): number {
    return this.#layers.length * this.#experts
  }

  /** Of the places for experts. */
  get bytes(): number {
    return [...new Set(this.#slots)].reduce((sum, { kind, pool }) => sum + pool.capacity * bytesOf(kind), 0)
  }

  /** Experts that can be resident. */
  get capacity(): number {
    return [...new Set(this.#slots)].reduce((sum, { pool }) => sum + pool.capacity, 0)
  }

  /**
   * Brings experts of a layer into memory, those first that are there. Each wave stays while it is being used, and the
   * next is read meanwhile.
   *
   * @param needed distinct numbers within the layer
   * @throws FormatError when a file cannot be read; the store goes on
   */
  *bring(layer: number, needed: readonly number[]): Generator<Wave> {
    const now = this.#advance(layer)
    const slots = this.#slots[layer] as ExpertSlots
    const isHere = (expert: number): boolean => slots.pool.has(this.#number(layer, expert))
    const [here, missing] = [needed.filter(isHere), needed.filter(expert => !isHere(expert))]
    this.counts.note(layer, { uses: needed.length, hits: here.length })
    for (const expert of here) slots.pool.use(this.#number(layer, expert), now)
    const waves = wavesOf(missing, slots.pool.capacity)
    const pinned = new Set(here.map(expert => this.#number(layer, expert)))
    let begun = 0
    /** Begins waves up to one, as far as there is room beside what is pinned. */
    const begin = (last: number): void => {
      for (; begun <= last; begun++) {
        const wave = waves[begun]
        if (wave === undefined || pinned.size + wave.length > slots.pool.capacity) return
        for (const expert of wave) this.#begin(layer, expert, now, pinned)
      }
    }
    const unpin = (experts: readonly number[]): void => {
      for (const expert of experts) pinned.delete(this.#number(layer, expert))
    }
    try {
      begin(0)
      if (here.length > 0) yield this.#wave(layer, here)
      unpin(here)
      for (const [i, wave] of waves.entries()) {
        begin(i + 1)
        yield this.#wave(layer, wave)
        unpin(wave)
      }
    } finally {
      this.#settle()
    }
  }

  /** After an error others may still be on their way: nothing is left to be found half-read. */
  #settle(): void {
    for (const number of [...this.#reading.keys()]) {
      try {
        this.#finish(number)
      } catch {
        // Whoever needs it will ask again.
      }
    }
  }

  /** Counts layers that have run: see CachePolicy. */
  #advance(layer: number): number {
    const layers = this.#layers.length
    this.#now += layer > this.#lastLayer ? layer - this.#lastLayer : layers - this.#lastLayer + layer
    this.#lastLayer = layer
    return this.#now
  }

  #number(layer: number, expert: number): ExpertNumber {
    return layer * this.#experts + expert
  }

  /** Gives an expert a place and begins to read it; it is pinned. */
  #begin(layer: number, expert: number, now: number, pinned: Set<ExpertNumber>): void {
    const number = this.#number(layer, expert)
    const slots = this.#slots[layer] as ExpertSlots
    const { up, down } = this.#layers[layer] as LayerRows
    const slot = slots.admit(number, now, new Set([...pinned, ...this.#reading.keys()]))
    pinned.add(number)
    const matrices = [
      [slots.up, slots.kind.up, up],
      [slots.down, slots.kind.down, down],
    ] as const
    const reads: PendingRead[] = []
    this.#reading.set(number, reads)
    try {
      for (const [stack, { encoding }, rows] of matrices)
        reads.push(this.#files.start(stack.select(0, slot), encoding, rows, expert))
    } catch (error) {
      this.#abandon(number)
      throw error
    }
    this.counts.read(bytesOf(slots.kind))
  }

  /** Waits until all of them are in memory. */
  #wave(layer: number, experts: readonly number[]): Wave {
    const slots = this.#slots[layer] as ExpertSlots
    for (const expert of experts) this.#finish(this.#number(layer, expert))
    return {
      slots,
      places: new Map(experts.map(expert => [expert, slots.slotOf(this.#number(layer, expert))])),
    }
  }

  /** Waits for an expert; one that cannot be read gives up its place. */
  #finish(number: ExpertNumber): void {
    const [error] = this.#errorsOf(number)
    if (error === undefined) return
    this.#drop(number)
    throw error
  }

  /** Gives up an expert of which not every read could be begun. */
  #abandon(number: ExpertNumber): void {
    this.#errorsOf(number)
    this.#drop(number)
  }

  #drop(number: ExpertNumber): void {
    this.#slots[Math.floor(number / this.#experts)]?.drop(number)
  }

  /** Waits for the reads of an expert. */
  #errorsOf(number: ExpertNumber): unknown[] {
    const reads = this.#reading.get(number) ?? []
    this.#reading.delete(number)
    return reads.flatMap(read => {
      try {
        read.finish()
        return []
      } catch (error) {
        return [error]
      }
    })
  }

  [Symbol.dispose](): void {
    this.#settle()
    this.#files[Symbol.dispose]()
    for (const slots of new Set(this.#slots)) slots[Symbol.dispose]()
  }
}

const filesOf = (rows: ExpertRows, experts: number): string[] =>
  Array.from({ length: experts }, (_, e) => rows.rangesOf(e).map(({ file }) => file)).flat()

interface KindOfLayers {
  kind: ExpertKind
  layers: number
}

const kindOf = ({ up, down }: LayerRows): ExpertKind => ({ up: matrixKind(up), down: matrixKind(down) })

function kindsOf(layers: readonly LayerRows[]): Map<string, KindOfLayers> {
  const kinds = new Map<string, KindOfLayers>()
  for (const rows of layers) {
    const kind = kindOf(rows)
    const name = kindName(kind)
    kinds.set(name, { kind, layers: (kinds.get(name)?.layers ?? 0) + 1 })
  }
  return kinds
}

/** One place for each kind, and of those for the other experts as many per layer as fit. */
function capacitiesOf(kinds: readonly KindOfLayers[], bytes: number, experts: number): number[] {
  const sum = (of: (each: KindOfLayers) => number): number => kinds.reduce((all, each) => all + of(each), 0)
  const least = sum(({ kind }) => bytesOf(kind))
  const others = sum(({ kind, layers }) => (layers * experts - 1) * bytesOf(kind))
  const share = others === 0 ? 1 : Math.min(1, Math.max(0, bytes - least) / others)
  return kinds.map(({ layers }) => 1 + Math.floor(share * (layers * experts - 1)))
}

/** Bytes of the least that a store can work with: a place for each kind. */
export function leastBytes(layers: readonly LayerRows[]): number {
  return [...kindsOf(layers).values()].reduce((sum, { kind }) => sum + bytesOf(kind), 0)
}

/** Bytes of all experts in memory. */
export function allBytes(layers: readonly LayerRows[], experts: number): number {
  return layers.reduce((sum, rows) => sum + experts * bytesOf(kindOf(rows)), 0)
}

/**
 * What is missing, in parts of which two fit: one is read while the other is used. Few enough that tokens are not looked at
 * again for every expert, many enough that the first can be used soon.
 */
function wavesOf(missing: readonly number[], capacity: number): number[][] {
  const size = Math.max(1, Math.min(Math.floor(capacity / 2), Math.ceil(missing.length / 8)))
  return Array.from({ length: Math.ceil(missing.length / size) }, (_, i) =>
    missing.slice(i * size, (i + 1) * size),
  )
}
