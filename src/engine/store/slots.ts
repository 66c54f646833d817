// Memory for experts of one kind: a place for each of those that are resident.
// Shapes: S places, W rows of up, D rows of down.

import { type Device, empty, type Tensor } from '../../torch/index.ts'
import type { CachePolicy } from '../cache/policy.ts'
import { ExpertPool } from '../cache/pool.ts'
import { type ExpertKind, kindName } from './expert-kind.ts'
import { capacitiesOf, kindsOf } from './layer-rows.ts'

/** An expert's number among all of the model: layer * experts + expert. */
export type ExpertNumber = number

/** A place, and who gave it up; null: it was free. */
export interface Placed {
  slot: number
  gone: ExpertNumber | null
}

/** How many places there are, and where. */
export interface SlotsOptions {
  /** Bytes that they may take. */
  bytes: number
  /** Experts of each layer. */
  experts: number
  policy: CachePolicy
  /** Default: host memory. */
  device?: Device
}

/**
 * Places for the experts of each layer. Layers of one kind of experts share theirs, of which each kind has as many per layer.
 *
 * @param layers what an expert of each is
 */
export function slotsOfLayers(
  layers: readonly ExpertKind[],
  { bytes, experts, policy, device }: SlotsOptions,
): ExpertSlots[] {
  const kinds = kindsOf(layers)
  const capacities = capacitiesOf([...kinds.values()], bytes, experts)
  const slots = new Map(
    [...kinds].map(([name, { kind }], i) => [
      name,
      new ExpertSlots(kind, capacities[i] as number, policy, device),
    ]),
  )
  return layers.map(kind => slots.get(kindName(kind)) as ExpertSlots)
}

/** Where experts of one kind lie. */
export interface ExpertPlaces {
  readonly kind: ExpertKind
  /** u8 [S, W, bytes] */
  readonly up: Tensor
  /** u8 [S, D, bytes] */
  readonly down: Tensor
}

export class ExpertSlots implements ExpertPlaces, Disposable {
  readonly kind: ExpertKind
  readonly pool: ExpertPool
  readonly up: Tensor
  readonly down: Tensor
  readonly #slots = new Map<ExpertNumber, number>()
  readonly #free: number[]

  constructor(kind: ExpertKind, capacity: number, policy: CachePolicy, device: Device = 'cpu') {
    this.kind = kind
    this.pool = new ExpertPool(capacity, policy)
    this.up = empty([capacity, ...kind.up.shape], { dtype: 'u8', device }).persist()
    this.down = empty([capacity, ...kind.down.shape], { dtype: 'u8', device }).persist()
    this.#free = Array.from({ length: capacity }, (_, i) => capacity - 1 - i)
  }

  /** The place of a resident expert. */
  slotOf(expert: ExpertNumber): number {
    return this.#slots.get(expert) as number
  }

  /** See ExpertPool.place(). */
  place(expert: ExpertNumber, now: number, pinned: ReadonlySet<ExpertNumber>): Placed {
    const gone = this.pool.place(expert, now, pinned)
    const slot = gone === null ? (this.#free.pop() as number) : this.slotOf(gone)
    if (gone !== null) this.#slots.delete(gone)
    this.#slots.set(expert, slot)
    return { slot, gone }
  }

  /** Takes the place of an expert that could not be read, or was a wrong guess. */
  drop(expert: ExpertNumber): void {
    this.pool.drop(expert)
    this.#free.push(this.slotOf(expert))
    this.#slots.delete(expert)
  }

  [Symbol.dispose](): void {
    this.up.dispose()
    this.down.dispose()
  }
}
