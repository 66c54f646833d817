// Experts on the device that computes, above those in host memory: a place each for those that are used most, as the numbers
// that its products read. What a layer needs and is not there is sent up, beside what is computed meanwhile.

import type { Projections } from '../../moe/index.ts'
import {
  CopyLane,
  type CopyMark,
  type CopyQueue,
  type Device,
  decodedRows,
  type Tensor,
  tidy,
} from '../../torch/index.ts'
import type { CachePolicy } from '../cache/policy.ts'
import { type DeviceDType, deviceKind, encodingOf } from './device-kind.ts'
import { bytesOf, type MatrixKind } from './expert-kind.ts'
import { LayerClock } from './layer-clock.ts'
import type { LayerRows } from './layer-rows.ts'
import type { Wave } from './layer-waves.ts'
import { type ExpertNumber, type ExpertSlots, slotsOfLayers } from './slots.ts'
import { StoreCounts } from './store-counts.ts'

export interface DeviceTierOptions {
  device: Device
  /** What is computed in there. */
  dtype: DeviceDType
  /** Bytes that experts may take there. */
  bytes: number
  /** Experts of each layer. */
  experts: number
  policy: CachePolicy
  /** Where copies are put. Default: the device's own. */
  queue?: CopyQueue | undefined
}

/**
 * Brings experts of a layer into host memory, in waves: see ExpertStore.bring().
 *
 * @param used all that the layer needs, wherever it is
 */
type Below = (layer: number, needed: readonly number[], used: readonly number[]) => Iterable<Wave>

/** The matrices of one expert, on the device. */
export type SentExpert = readonly [expert: number, matrices: Pick<Projections, 'up' | 'down'>]

export class DeviceTier implements Disposable {
  /** Bytes are those that were sent. */
  readonly counts = new StoreCounts()
  /** Experts of each layer. */
  readonly experts: number
  readonly #rows: readonly LayerRows[]
  readonly #slots: readonly ExpertSlots[] // of each layer; those of one kind share theirs
  readonly #dtype: DeviceDType
  readonly #below: Below
  readonly #policy: CachePolicy
  readonly #lane: CopyLane
  readonly #clock: LayerClock
  /** What was begun when a place was made, or when its expert was used last. */
  readonly #readers = new Map<ExpertSlots, CopyMark[]>()

  constructor(
    layers: readonly LayerRows[],
    below: Below,
    { device, dtype, bytes, experts, policy, queue }: DeviceTierOptions,
  ) {
    this.experts = experts
    this.#rows = layers
    const kinds = layers.map(rows => deviceKind(rows, dtype))
    this.#slots = slotsOfLayers(kinds, { bytes, experts, policy, device })
    this.#dtype = dtype
    this.#below = below
    this.#policy = policy
    this.#lane = new CopyLane({ device, ...(queue && { queue }) })
    this.#clock = new LayerClock(layers.length)
    const made = this.#lane.computed()
    for (const places of this.#places)
      this.#readers.set(places, new Array<CopyMark>(places.pool.capacity).fill(made))
  }

  get #places(): ReadonlySet<ExpertSlots> {
    return new Set(this.#slots)
  }

  /** Of the places for experts. */
  get bytes(): number {
    return [...this.#places].reduce((sum, { kind, pool }) => sum + pool.capacity * bytesOf(kind), 0)
  }

  /** Experts that can be there. */
  get capacity(): number {
    return [...this.#places].reduce((sum, { pool }) => sum + pool.capacity, 0)
  }

  /** A new text begins. */
  begin(): void {
    this.#policy.begin?.()
  }

  /**
   * The experts that a layer needs, one by one: those first that are there, and then each while the next is sent. One stays
   * until the next is asked for.
   *
   * @param needed distinct numbers within the layer
   * @throws FormatError when a file cannot be read; the tier goes on
   */
  *bring(layer: number, needed: readonly number[]): Generator<SentExpert> {
    const slots = this.#slots[layer] as ExpertSlots
    const now = this.#clock.advance(layer)
    const numbers = needed.map(expert => layer * this.experts + expert)
    const here = numbers.filter(number => slots.pool.has(number))
    const missing = needed.filter((_, i) => !here.includes(numbers[i] as number))
    this.counts.note(layer, { uses: needed.length, hits: here.length })
    const pinned = new Set(here)
    for (const number of here) slots.pool.use(number, now)
    for (const number of here) yield* this.#use(slots, number, pinned)
    let sent: ExpertNumber | null = null
    for (const wave of this.#below(layer, missing, needed))
      for (const expert of wave.places.keys()) {
        if (sent !== null && !slots.pool.hasRoom(pinned)) {
          yield* this.#use(slots, sent, pinned)
          sent = null
        }
        const number = layer * this.experts + expert
        this.#send(slots, number, wave, { now, pinned })
        if (sent !== null) yield* this.#use(slots, sent, pinned)
        sent = number
      }
    if (sent !== null) yield* this.#use(slots, sent, pinned)
  }

  /** Gives an expert that is in host memory a place, and begins to send it. */
  #send(
    slots: ExpertSlots,
    number: ExpertNumber,
    { slots: from, places }: Wave,
    { now, pinned }: { now: number; pinned: Set<ExpertNumber> },
  ): void {
    const [layer, expert] = [Math.floor(number / this.experts), number % this.experts]
    const { up, down } = this.#rows[layer] as LayerRows
    const { slot } = slots.place(number, now, pinned)
    const place = places.get(expert) as number
    const readers = this.#readers.get(slots) as CopyMark[]
    const sendMatrix = (to: Tensor, stored: Tensor, kind: MatrixKind, rows: number): CopyMark =>
      tidy(() => {
        const numbers = numbersOf(stored.select(0, place), kind, this.#dtype, rows)
        return this.#lane.refill(to.select(0, slot).viewDtype(this.#dtype), numbers, readers[slot] ?? null)
      })
    try {
      sendMatrix(slots.up, from.up, from.kind.up, up.shape[0])
      readers[slot] = sendMatrix(slots.down, from.down, from.kind.down, down.shape[0]) // copies end in order
    } catch (error) {
      slots.drop(number)
      throw error
    }
    this.counts.read(bytesOf(slots.kind))
    slots.pool.use(number, now)
    pinned.add(number)
  }

  /** What is computed from here on waits until the expert is there; what is sent to its place later waits for that in turn. */
  *#use(slots: ExpertSlots, number: ExpertNumber, pinned: Set<ExpertNumber>): Generator<SentExpert> {
    const readers = this.#readers.get(slots) as CopyMark[]
    const slot = slots.slotOf(number)
    readers[slot]?.block()
    const matrixOf = (stack: Tensor): Tensor => stack.select(0, slot).viewDtype(this.#dtype)
    yield [number % this.experts, { up: matrixOf(slots.up), down: matrixOf(slots.down) }]
    readers[slot] = this.#lane.computed()
    pinned.delete(number)
  }

  [Symbol.dispose](): void {
    this.#lane.dispose()
    for (const slots of this.#places) slots[Symbol.dispose]()
  }
}

/** A matrix in host memory as the device computes with it: [rows, columns]. */
function numbersOf(stored: Tensor, { encoding }: MatrixKind, dtype: DeviceDType, rows: number): Tensor {
  if (encoding === encodingOf(dtype)) return stored.viewDtype(dtype)
  return decodedRows({ rows: stored, encoding }, rows).to(dtype)
}
