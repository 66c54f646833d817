// The order of training windows where domains are weighted: which domain is next, and of it the next window.

import { invariant } from '../errors.ts'
import { uniformAt } from './permutation.ts'
import { type WindowOrder, WindowSampler, type WindowSamplerState } from './window-sampler.ts'

export interface DomainSamplerOptions {
  /** The windows of each domain. */
  windows: readonly ArrayLike<number>[]
  /** How much each domain counts at the n-th window that is drawn, from 0; at least one above 0, and none above 0 without windows. */
  weightsAt: (draw: number) => readonly number[]
  seed: number
}

/**
 * Endless window indices: each draw is of a domain by its weight, at random, and takes that domain's next window, whose order is a
 * fresh permutation each time through. All of it follows from the seed and the number of draws.
 */
export class DomainSampler implements WindowOrder {
  readonly #windows: readonly ArrayLike<number>[]
  readonly #weightsAt: DomainSamplerOptions['weightsAt']
  readonly #seed: number
  readonly #orders: (WindowSampler | null)[]
  #drawn = 0

  constructor({ windows, weightsAt, seed }: DomainSamplerOptions) {
    this.#windows = windows
    this.#weightsAt = weightsAt
    this.#seed = seed
    this.#orders = windows.map(({ length }) =>
      length > 0 ? new WindowSampler({ windows: length, seed }) : null,
    )
  }

  take(count: number): number[] {
    return Array.from({ length: count }, () => {
      const domain = this.#domainAt(this.#drawn++)
      const [place] = this.#orders[domain]?.take(1) ?? []
      const window = this.#windows[domain]?.[place ?? -1]
      invariant(window !== undefined, 'a domain that counts has windows')
      return window
    })
  }

  get state(): WindowSamplerState {
    return { epoch: 0, position: this.#drawn }
  }

  /** Draws the domains of all windows before again, without the windows. */
  restore({ position }: WindowSamplerState): void {
    const taken = this.#windows.map(() => 0)
    for (let draw = 0; draw < position; draw++) {
      const domain = this.#domainAt(draw)
      taken[domain] = (taken[domain] ?? 0) + 1
    }
    for (const [domain, order] of this.#orders.entries()) {
      const count = taken[domain] ?? 0
      order?.restore({ epoch: Math.floor(count / order.windows), position: count % order.windows })
    }
    this.#drawn = position
  }

  #domainAt(draw: number): number {
    const weights = this.#weightsAt(draw)
    let left = uniformAt([this.#seed, draw]) * weights.reduce((sum, weight) => sum + weight, 0)
    const domain = weights.findIndex(weight => {
      left -= weight
      return weight > 0 && left < 0
    })
    return domain >= 0 ? domain : weights.findLastIndex(weight => weight > 0) // what rounding left over
  }
}
