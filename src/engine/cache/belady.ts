// The best that any policy could do, for it knows what comes: the expert goes that is needed last (Belady 1966, "A study
// of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5:78-101).
//
// It stays the best where a layer needs several experts at once: kept from one use to the next, an expert takes a place
// that others want in between, and giving up the longest such stay when places lack keeps the most of them.

import { leastBy } from './least.ts'
import type { CachePolicy } from './policy.ts'

export class BeladyPolicy implements CachePolicy {
  /** Of each expert, the times at which it is used, ascending. */
  readonly #times: ReadonlyMap<number, readonly number[]>

  constructor(times: ReadonlyMap<number, readonly number[]>) {
    this.#times = times
  }

  use(): void {}

  victim(candidates: Iterable<number>, now: number): number {
    return leastBy(candidates, expert => -this.#nextUse(expert, now))
  }

  /** The first use after now; Infinity where there is none. */
  #nextUse(expert: number, now: number): number {
    const times = this.#times.get(expert) ?? []
    let [low, high] = [0, times.length]
    while (low < high) {
      const middle = (low + high) >> 1
      if ((times[middle] as number) > now) high = middle
      else low = middle + 1
    }
    return times[low] ?? Infinity
  }
}
