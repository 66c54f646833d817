import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { four, identity, z } from '../../../tests/support/router-examples.ts'
import { randn, tidy } from '../../torch/index.ts'
import { TopPRouter } from '../index.ts'

describe('top-p', () => {
  const sets = (threshold: number): number[][] =>
    (
      identity(new TopPRouter({ ...four, threshold }))
        .forward(z)
        .indices.tolist() as number[][]
    ).map(row => row.filter(e => e >= 0))

  test('worked examples', () => {
    expect(sets(0.4)).toEqual([[0], [3], [1]])
    expect(sets(0.7).map(row => row.toSorted())).toEqual([[0, 1], [3], [0, 1]])
    expect(sets(0.9).map(row => row.toSorted())).toEqual([
      [0, 1, 2],
      [2, 3],
      [0, 1, 2],
    ])
    expect(sets(0)).toEqual([[0], [3], [1]])
    expect(sets(1).map(row => row.length)).toEqual([4, 4, 4])
  })

  test('property: what is kept exceeds the threshold, without the last it does not', () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.double({ min: 0, max: 0.99, noNaN: true }), (seed, threshold) =>
        tidy(() => {
          const router = identity(new TopPRouter({ ...four, threshold }))
          for (const row of router
            .forward(randn([5, 4], { dtype: 'f64', seed }))
            .weights.tolist() as number[][]) {
            const kept = row.filter(weight => weight > 0)
            const mass = kept.reduce((a, b) => a + b)
            expect(mass).toBeGreaterThan(threshold)
            expect(mass - (kept.at(-1) ?? 0)).toBeLessThanOrEqual(threshold + 1e-12)
          }
        }),
      ),
      { numRuns: 40 },
    )
  })
})
