import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Evaluation } from './evaluate.ts'
import { jensenShannon, shiftBetween } from './shift.ts'

test('divergence: of known distributions, symmetric, between 0 and 1', () => {
  expect(jensenShannon([1, 1], [2, 2])).toBe(0)
  expect(jensenShannon([1, 0], [0, 3])).toBe(1)
  // m = (3/4, 1/4): KL(p, m) = log2(4/3), KL(q, m) = log2(2/3)/2 + log2(2)/2
  expect(jensenShannon([1, 0], [1, 1])).toBeCloseTo((Math.log2(4 / 3) + (Math.log2(2 / 3) + 1) / 2) / 2, 14)
  const weights = fc
    .array(fc.nat({ max: 50 }), { minLength: 3, maxLength: 3 })
    .filter(list => list.some(Boolean))
  fc.assert(
    fc.property(weights, weights, (p, q) => {
      expect(jensenShannon(p, q)).toBeCloseTo(jensenShannon(q, p), 12)
      expect(jensenShannon(p, q)).toBeLessThanOrEqual(1 + 1e-12)
    }),
  )
})

test('a shift names what was forgotten, and layers whose experts are used otherwise', () => {
  const score = { tokens: 1, perplexity: 1, bitsPerByte: 1 }
  const evaluation = (losses: Record<string, number>, load: number[][]): Evaluation => ({
    ...{ ...score, loss: 1, retrieval: [], moeLayers: [3] },
    domains: Object.entries(losses).map(([name, loss]) => ({ ...score, name, loss })),
    expertLoad: [load],
  })
  const before = evaluation({ code: 1.5, es: 2 }, [
    [4, 0],
    [4, 0],
  ])
  const after = evaluation({ code: 1.25, es: 2.5 }, [
    [0, 4],
    [0, 4],
  ])
  expect(shiftBetween(before, after)).toEqual({
    domains: [
      { name: 'code', before: 1.5, after: 1.25, change: -0.25 },
      { name: 'es', before: 2, after: 2.5, change: 0.5 },
    ],
    experts: [{ layer: 3, divergence: 1 }],
  })
})
