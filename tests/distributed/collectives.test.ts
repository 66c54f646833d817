import { describe, expect, test } from 'vitest'
import { runRanks } from '../support/ranks.ts'

describe.each([2, 3])('%i ranks', size => {
  test('move rows of uneven splits, zero among them, and gradients the way back; sums, parts and wholes', async () => {
    const all = await runRanks<Record<string, number>>('collectives-script.ts', size)
    for (const worst of all) {
      expect(Object.keys(worst).length).toBeGreaterThan(7)
      // Rows are moved as they are, and what is added up is small whole numbers.
      expect(
        Object.values(worst).every(difference => difference === 0),
        JSON.stringify(worst),
      ).toBe(true)
    }
  })
})
