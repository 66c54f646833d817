// The experts that have a place in memory: those that are there, and those on their way.

import { tidy } from '../../torch/index.ts'
import type { CachePolicy } from '../cache/policy.ts'
import type { ExpertFiles, PendingRead, Urgency } from './expert-files.ts'
import { bytesOf } from './expert-kind.ts'
import { filesOf, kindOf, type LayerRows } from './layer-rows.ts'
import { type ExpertNumber, type ExpertSlots, slotsOfLayers } from './slots.ts'
import { StoreCounts } from './store-counts.ts'

export interface ResidentsOptions {
  /** Bytes that resident experts may take. */
  bytes: number
  /** Experts of each layer. */
  experts: number
  files: ExpertFiles
  policy: CachePolicy
}

/** What a place is wanted for. */
export interface Wanted {
  /** See CachePolicy. */
  now: number
  /** Experts that must stay, beside which there is room: see ExpertPool.hasRoom(). */
  pinned: ReadonlySet<ExpertNumber>
  urgency: Urgency
}

export class Residents implements Disposable {
  readonly counts = new StoreCounts()
  /** Experts of each layer. */
  readonly experts: number
  readonly #layers: readonly LayerRows[]
  readonly #slots: readonly ExpertSlots[] // of each layer; those of one kind share theirs
  readonly #files: ExpertFiles
  /** Matrices that are on their way. */
  readonly #coming = new Map<ExpertNumber, PendingRead[]>()

  constructor(layers: readonly LayerRows[], { bytes, experts, files, policy }: ResidentsOptions) {
    this.#layers = layers
    this.experts = experts
    this.#files = files
    files.open(filesOf(layers, experts))
    this.#slots = slotsOfLayers(layers.map(kindOf), { bytes, experts, policy })
  }

  get layers(): number {
    return this.#layers.length
  }

  /** The places of every kind of experts. */
  get places(): ReadonlySet<ExpertSlots> {
    return new Set(this.#slots)
  }

  /** The places that an expert can have. */
  slotsFor(number: ExpertNumber): ExpertSlots {
    return this.#slots[this.layerOf(number)] as ExpertSlots
  }

  layerOf(number: ExpertNumber): number {
    return Math.floor(number / this.experts)
  }

  /** Whether an expert has a place, be it on its way. */
  has(number: ExpertNumber): boolean {
    return this.slotsFor(number).pool.has(number)
  }

  /** Whether an expert is in memory. One whose read has failed is not, and has no place any more. */
  isHere(number: ExpertNumber): boolean {
    if (this.hasEnded(number)) this.#errorsOf(number)
    return this.has(number) && !this.#coming.has(number)
  }

  /** Whether finish() would not wait. */
  hasEnded(number: ExpertNumber): boolean {
    return this.#coming.get(number)?.every(read => read.hasEnded()) ?? true
  }

  /** Gives an expert a place and begins to read it. @throws FormatError when its file has changed */
  begin(number: ExpertNumber, { now, pinned, urgency }: Wanted): void {
    const slots = this.slotsFor(number)
    const { up, down } = this.#layers[this.layerOf(number)] as LayerRows
    const { slot, gone } = slots.place(number, now, pinned)
    if (gone !== null) this.#stop(gone) // what is guessed may be on its way to this very place
    const matrices = [
      [slots.up, slots.kind.up, up],
      [slots.down, slots.kind.down, down],
    ] as const
    const expert = number % this.experts
    const reads: PendingRead[] = []
    this.#coming.set(number, reads)
    try {
      tidy(() => {
        for (const [stack, { encoding }, rows] of matrices)
          reads.push(this.#files.start(stack.select(0, slot), encoding, { rows, expert }, urgency))
      })
    } catch (error) {
      this.#errorsOf(number)
      this.#free(number)
      throw error
    }
    this.counts.read(bytesOf(slots.kind))
  }

  /** What was begun ahead of its time is needed now. */
  hurry(number: ExpertNumber): void {
    for (const read of this.#coming.get(number) ?? []) read.hurry()
  }

  /** Waits for an expert; one that cannot be read gives up its place. */
  finish(number: ExpertNumber): void {
    const [error] = this.#errorsOf(number)
    if (error !== undefined) throw error
  }

  /** As finish(), for an expert that nobody needs after all: its error is nobody's. */
  settle(number: ExpertNumber): void {
    this.#errorsOf(number)
  }

  /** Gives up an expert whose reads wait still for others; false: it is there, or its reads are under way. */
  cancel(number: ExpertNumber): boolean {
    if (!this.#cancelReads(number)) return false
    this.#free(number)
    return true
  }

  /** Gives up an expert, which is waited for if it is on its way. */
  drop(number: ExpertNumber): void {
    this.#stop(number)
    this.#free(number)
  }

  #free(number: ExpertNumber): void {
    const slots = this.slotsFor(number)
    if (slots.pool.has(number)) slots.drop(number)
  }

  /** Reads of one expert begin in order: where the first waits, all do. */
  #cancelReads(number: ExpertNumber): boolean {
    const [first, ...others] = this.#coming.get(number) ?? []
    if (!first?.cancel()) return false
    for (const read of others) if (!read.cancel()) quietly(read)
    this.#coming.delete(number)
    this.counts.read(-bytesOf(this.slotsFor(number).kind))
    return true
  }

  /** Nothing writes to an expert's place any more. */
  #stop(number: ExpertNumber): void {
    if (this.#cancelReads(number)) return
    for (const read of this.#take(number)) quietly(read)
  }

  #take(number: ExpertNumber): PendingRead[] {
    const reads = this.#coming.get(number) ?? []
    this.#coming.delete(number)
    return reads
  }

  /** Waits for the reads of an expert, which gives up its place when one fails. */
  #errorsOf(number: ExpertNumber): unknown[] {
    const errors = this.#take(number).flatMap(quietly)
    if (errors.length > 0) this.#free(number)
    return errors
  }

  [Symbol.dispose](): void {
    for (const number of [...this.#coming.keys()]) this.#stop(number)
    for (const slots of this.places) slots[Symbol.dispose]()
    this.#files[Symbol.dispose]()
  }
}

/** Waits for a read; its error, if there is one. */
function quietly(read: PendingRead): unknown[] {
  try {
    read.finish()
    return []
  } catch (error) {
    return [error]
  }
}
