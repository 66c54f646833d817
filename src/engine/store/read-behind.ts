// Experts that a layer did without are read while others compute, so that they are there for tokens to come.

import type { Residents } from './residents.ts'
import type { ExpertNumber } from './slots.ts'

/** Experts on their way at once: as each takes a place when it is begun, one that waits long would take it from one of use. */
const most = 2

export class ReadBehind {
  readonly #residents: Residents
  readonly #coming = new Set<ExpertNumber>()

  constructor(residents: Residents) {
    this.#residents = residents
  }

  /** Takes note of what has come. @throws FormatError for what could not be read */
  settle(): void {
    for (const number of this.#coming) {
      if (!this.#residents.hasEnded(number)) continue
      this.#coming.delete(number)
      this.#residents.finish(number)
    }
  }

  /**
   * Begins to read what was missed, as far as there is room for it.
   *
   * @param pinned what the layer uses
   * @throws FormatError when its file has changed
   */
  begin(missed: readonly ExpertNumber[], now: number, pinned: readonly ExpertNumber[]): void {
    for (const number of missed) {
      if (this.#coming.size >= most) return
      const { pool } = this.#residents.slotsFor(number)
      const kept = new Set([...pinned, ...this.#coming])
      if (this.#residents.has(number) || !pool.hasRoom(kept)) continue
      this.#residents.begin(number, { now, pinned: kept, urgency: 'guess' })
      pool.use(number, now)
      this.#coming.add(number)
    }
  }
}
