// What one layer needs, as it comes: experts that are there, those on their way, and waves of those that are missing, each
// of which stays while it is used.

import type { Step } from '../trace/choices.ts'
import type { ReadAhead } from './read-ahead.ts'
import type { Residents } from './residents.ts'
import type { ExpertNumber, ExpertPlaces, ExpertSlots } from './slots.ts'

/** Experts of one layer that are in memory together: the place of each. */
export interface Wave {
  slots: ExpertPlaces
  /** By the expert's number within its layer. */
  places: ReadonlyMap<number, number>
}

export class LayerWaves {
  readonly here: readonly ExpertNumber[]
  /** Guessed before, and still on their way. */
  readonly coming: readonly ExpertNumber[]
  /** In waves. */
  readonly missing: readonly (readonly ExpertNumber[])[]
  /** What must stay: of what is needed, all that has a place and was not used yet. */
  readonly pinned: Set<ExpertNumber>
  readonly #residents: Residents
  readonly #slots: ExpertSlots
  readonly #now: number
  readonly #ahead: ReadAhead | null
  #begun = 0
  #unserved: number

  /** @param ahead what was read for later layers, which goes only where there is no other room */
  constructor(residents: Residents, { layer, needed, now }: Step, ahead: ReadAhead | null) {
    this.#residents = residents
    this.#slots = residents.slotsFor(layer * residents.experts)
    this.#now = now
    this.#ahead = ahead
    this.#unserved = needed.length
    // Asked once: a read may end at any time.
    const here = new Set(needed.filter(number => residents.isHere(number)))
    this.here = [...here]
    const others = needed.filter(number => !here.has(number))
    this.coming = others.filter(number => residents.has(number))
    this.missing = wavesOf(
      others.filter(number => !residents.has(number)),
      this.#slots.pool.capacity,
    )
    this.pinned = new Set([...this.here, ...this.coming])
    for (const number of this.pinned) this.#slots.pool.use(number, now)
    for (const number of this.coming) residents.hurry(number)
  }

  /** Whether all that is missing has begun. */
  get haveBegun(): boolean {
    return this.#begun === this.missing.length
  }

  /** Whether every expert has been in a wave. */
  get areServed(): boolean {
    return this.#unserved === 0
  }

  /**
   * All of them, each while the next one is read.
   *
   * @param onBegun called once all reads have begun
   * @throws FormatError when a file cannot be read; the store goes on
   */
  *inTurn(onBegun?: () => void): Generator<Wave> {
    let wasTold = false
    const begin = (most: number): void => {
      this.#beginFirst(most)
      if (this.haveBegun && !wasTold) onBegun?.()
      wasTold = this.haveBegun
    }
    try {
      begin(1)
      for (const wave of [this.here, this.coming]) if (wave.length > 0) yield* this.#use(wave)
      for (const [i, wave] of this.missing.entries()) {
        begin(i + 2)
        yield* this.#use(wave)
      }
    } finally {
      this.#settle()
    }
  }

  /** Begins to read the first so many waves, as far as there is room. */
  #beginFirst(waves: number): void {
    for (; this.#begun < Math.min(waves, this.missing.length); this.#begun++) {
      const wave = this.missing[this.#begun] as readonly ExpertNumber[]
      if (this.pinned.size + wave.length > this.#slots.pool.capacity) break
      for (const number of wave) this.#begin(number)
    }
  }

  /** Waits until all of them are in memory, where they stay until the wave has been used. */
  *#use(numbers: readonly ExpertNumber[]): Generator<Wave> {
    const { experts } = this.#residents
    for (const number of numbers) this.#residents.finish(number)
    const places = numbers.map(number => [number % experts, this.#slots.slotOf(number)] as const)
    this.#unserved -= numbers.length
    yield { slots: this.#slots, places: new Map(places) }
    for (const number of numbers) this.pinned.delete(number)
  }

  /** After an error others may still be on their way: nothing is left to be found half-read. */
  #settle(): void {
    for (const number of this.pinned) this.#residents.settle(number)
  }

  #begin(number: ExpertNumber): void {
    const { pool } = this.#slots
    const kept = (): Set<ExpertNumber> => new Set([...this.pinned, ...(this.#ahead?.guesses ?? [])])
    while (!pool.hasRoom(kept())) this.#ahead?.giveUpLast(pool)
    this.#residents.begin(number, { now: this.#now, pinned: kept(), urgency: 'needed' })
    pool.use(number, this.#now)
    this.pinned.add(number)
  }
}

/**
 * What is missing, in parts of which two fit: one is read while the other is used. Few enough that tokens are not looked at
 * again for every expert, many enough that the first can be used soon.
 */
function wavesOf(missing: readonly ExpertNumber[], capacity: number): ExpertNumber[][] {
  const size = Math.max(1, Math.min(Math.floor(capacity / 2), Math.ceil(missing.length / 8)))
  return Array.from({ length: Math.ceil(missing.length / size) }, (_, i) =>
    missing.slice(i * size, (i + 1) * size),
  )
}
