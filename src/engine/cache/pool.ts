// Places for experts, and who has them. What lies in a place is the business of whoever owns the pool.

import { ConfigError } from '../../errors.ts'
import type { CachePolicy } from './policy.ts'

/** Experts that are resident together: never more than there are places. */
export class ExpertPool {
  readonly capacity: number
  readonly #policy: CachePolicy
  readonly #residents = new Set<number>()

  /** @throws ConfigError for a capacity below one */
  constructor(capacity: number, policy: CachePolicy) {
    if (!Number.isSafeInteger(capacity) || capacity < 1)
      throw new ConfigError(`must be a whole number of at least 1, got ${capacity}`, { path: 'capacity' })
    this.capacity = capacity
    this.#policy = policy
  }

  get residents(): ReadonlySet<number> {
    return this.#residents
  }

  has(expert: number): boolean {
    return this.#residents.has(expert)
  }

  /** Whether a place is free, or an expert that is not pinned has one. */
  hasRoom(pinned: ReadonlySet<number>): boolean {
    if (this.#residents.size < this.capacity) return true
    for (const expert of this.#residents) if (!pinned.has(expert)) return true
    return false
  }

  /** A resident expert is used. */
  use(expert: number, now: number): void {
    this.#policy.use(expert, now)
  }

  /**
   * Gives a place to an expert that is not resident. It counts as used only when use() says so: what is read ahead may
   * never be.
   *
   * @param pinned experts that must stay, for which hasRoom() must hold
   * @returns the expert that went for it; null where a place was free
   */
  place(expert: number, now: number, pinned: ReadonlySet<number>): number | null {
    const gone = this.#residents.size < this.capacity ? null : this.#evict(now, pinned)
    this.#residents.add(expert)
    return gone
  }

  /** As place(), for an expert that is used at once. */
  admit(expert: number, now: number, pinned: ReadonlySet<number>): number | null {
    const gone = this.place(expert, now, pinned)
    this.use(expert, now)
    return gone
  }

  /** Takes the place of an expert that could not be read, or was a wrong guess. */
  drop(expert: number): void {
    this.#residents.delete(expert)
  }

  #evict(now: number, pinned: ReadonlySet<number>): number {
    const candidates = [...this.#residents].filter(expert => !pinned.has(expert))
    const gone = this.#policy.victim(candidates, now)
    this.#residents.delete(gone)
    return gone
  }
}
