// The order in which training visits its windows: shuffled anew each epoch, resumable anywhere, without a list.

import { ConfigError } from '../errors.ts'
import { Permutation } from './permutation.ts'

/** Where a sampler stands: all that a checkpoint has to keep. */
export interface WindowSamplerState {
  epoch: number
  /** Windows of this epoch that were taken; where domains are weighted, which has no epochs, of all. */
  position: number
}

/** Endless window indices, in an order that a seed decides. */
export interface WindowOrder {
  /** The next `count` windows. */
  take(count: number): number[]
  readonly state: WindowSamplerState
  /** Goes on as the order did that gave this state, provided that all else is the same. */
  restore(state: WindowSamplerState): void
}

/** Endless window indices: each epoch is a fresh permutation of `0..windows-1`, decided by the seed. */
export class WindowSampler implements WindowOrder {
  readonly windows: number
  readonly seed: number
  #epoch = 0
  #position = 0
  #order: Permutation

  constructor({ windows, seed }: { windows: number; seed: number }) {
    if (!Number.isSafeInteger(windows) || windows < 1) {
      throw new ConfigError(`must be at least 1, got ${windows}: use more text or shorter sequences`, {
        path: 'windows',
      })
    }
    this.windows = windows
    this.seed = seed
    this.#order = this.#orderOf(0)
  }

  /** The next `count` windows. */
  take(count: number): number[] {
    return Array.from({ length: count }, () => this.#next())
  }

  get state(): WindowSamplerState {
    return { epoch: this.#epoch, position: this.#position }
  }

  /** Goes on as the sampler did that gave this state, provided windows and seed are the same. */
  restore({ epoch, position }: WindowSamplerState): void {
    if (!isCount(epoch) || !isCount(position) || position > this.windows) {
      throw new ConfigError(
        `epoch ${epoch}, position ${position} cannot be in ${this.windows} windows: the text or the sequence length has changed`,
        { path: 'state' },
      )
    }
    this.#epoch = epoch
    this.#position = position
    this.#order = this.#orderOf(epoch)
  }

  #next(): number {
    if (this.#position === this.windows) {
      this.#epoch++
      this.#position = 0
      this.#order = this.#orderOf(this.#epoch)
    }
    return this.#order.at(this.#position++)
  }

  #orderOf(epoch: number): Permutation {
    return new Permutation(this.windows, [this.seed, epoch])
  }
}

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0
