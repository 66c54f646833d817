// Experts are read before a layer needs them, where somebody guesses which these will be. A guess waits for all reads that
// are needed, has a place that nothing known to be needed has, and is waited for only where it was right.

import { FormatError, invariant } from '../../errors.ts'
import type { ExpertPool } from '../cache/pool.ts'
import type { Prefetcher } from '../prefetch/prefetcher.ts'
import type { Step } from '../trace/choices.ts'
import { bytesOf } from './expert-kind.ts'
import type { Pass } from './pass.ts'
import type { Residents } from './residents.ts'
import type { ExpertNumber } from './slots.ts'
import { TimedTrial, type Trial } from './trial.ts'

export class ReadAhead {
  /** Whether it pays. May be changed at any time. */
  trial: Trial = new TimedTrial()
  readonly #residents: Residents
  readonly #prefetcher: Prefetcher
  readonly #guesses = new Set<ExpertNumber>()
  #isDecoding = false

  constructor(residents: Residents, prefetcher: Prefetcher) {
    this.#residents = residents
    this.#prefetcher = prefetcher
  }

  /** Experts that were read ahead for layers that have not run. */
  get guesses(): ReadonlySet<ExpertNumber> {
    return this.#guesses
  }

  /** Only in decoding: chunks of a prompt need most experts of a layer, and take long enough to read them. */
  beginPass({ isDecoding, ids }: Pass, now: number): void {
    this.#isDecoding = isDecoding
    if (!isDecoding) return
    this.trial.begin()
    if (this.trial.isOn) this.#read(this.#prefetcher.foresee?.(ids) ?? [], now, new Set())
  }

  /** Every layer has run. */
  endPass(): void {
    if (this.#isDecoding) this.trial.end()
  }

  /** What a layer needs is known: the guesses that were made for it are right or wrong. */
  judge(step: Step): void {
    const { counts } = this.#residents
    const needed = new Set(step.needed)
    for (const number of this.#guesses) {
      if (this.#residents.layerOf(number) !== step.layer) continue
      this.#guesses.delete(number)
      if (needed.has(number) && this.#residents.has(number)) counts.useful += this.#bytesOf(number)
      else if (!this.#residents.cancel(number)) counts.wasted += this.#bytesOf(number)
    }
    if (this.#isDecoding) this.#prefetcher.observe(step)
  }

  /**
   * Begins to read what is guessed to be needed next; whatever the layer that runs needs has begun.
   *
   * @param pinned what that layer still uses
   */
  guess(step: Step, pinned: ReadonlySet<ExpertNumber>): void {
    if (!this.#isDecoding || !this.trial.isOn) return
    this.#read(this.#prefetcher.predict(step), step.now, pinned)
  }

  #read(predicted: readonly ExpertNumber[], now: number, pinned: ReadonlySet<ExpertNumber>): void {
    const kept = new Set([...pinned, ...this.#guesses, ...predicted])
    for (const number of predicted) {
      const { pool } = this.#residents.slotsFor(number)
      if (this.#residents.has(number) || !pool.hasRoom(kept)) continue
      if (!this.#begin(number, now, kept)) return
    }
  }

  /** Makes room for what is needed: of the guesses that share its places the last goes, which was the least sure. */
  giveUpLast(pool: ExpertPool): void {
    const number = [...this.#guesses].findLast(guess => pool.has(guess))
    invariant(number !== undefined, 'what is pinned leaves room')
    this.#guesses.delete(number)
    if (this.#residents.cancel(number)) return
    this.#residents.drop(number)
    this.#residents.counts.wasted += this.#bytesOf(number)
  }

  #bytesOf(number: ExpertNumber): number {
    return bytesOf(this.#residents.slotsFor(number).kind)
  }

  /** False when its file cannot be read: whoever needs the expert will say so. */
  #begin(number: ExpertNumber, now: number, pinned: ReadonlySet<ExpertNumber>): boolean {
    try {
      this.#residents.begin(number, { now, pinned, urgency: 'guess' })
    } catch (error) {
      if (error instanceof FormatError) return false
      throw error
    }
    this.#guesses.add(number)
    return true
  }
}
