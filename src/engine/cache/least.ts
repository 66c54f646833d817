// The choice that most policies come down to.

import { invariant } from '../../errors.ts'

/** The candidate of the lowest score; of equals the first. */
export function leastBy(candidates: Iterable<number>, score: (expert: number) => number): number {
  let least = -1
  let lowest = Infinity
  for (const expert of candidates) {
    const value = score(expert)
    if (least !== -1 && value >= lowest) continue
    least = expert
    lowest = value
  }
  invariant(least !== -1, 'a full cache has an expert that may go')
  return least
}
