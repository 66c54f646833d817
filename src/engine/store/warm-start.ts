// The experts that were used most before are read as soon as a model is there, while nothing else is needed.

import { FormatError } from '../../errors.ts'
import type { Residents } from './residents.ts'

/** Begins to read the most used experts into the places that are free, with less urgency than all else. */
export function warmUp(residents: Residents, uses: readonly number[]): void {
  const used = [...uses.keys()].filter(number => (uses[number] as number) > 0)
  const nobody = new Set<number>()
  try {
    for (const number of used.sort((a, b) => (uses[b] as number) - (uses[a] as number))) {
      const { pool } = residents.slotsFor(number)
      if (residents.has(number) || pool.residents.size === pool.capacity) continue
      residents.begin(number, { now: 0, pinned: nobody, urgency: 'spare' })
    }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error // whoever needs the expert will say so
  }
}
