import { describe, expect, test } from 'vitest'
import { noGrad, randn, tensor, tidy } from '../../torch/index.ts'
import { canBeSkewed, skewedLoads, skewedScales, TopKRouter } from '../index.ts'

const cases: [numExperts: number, topK: number, exponent: number][] = [
  [8, 2, 0],
  [8, 2, 0.5],
  [8, 1, 0.5],
  [64, 8, 0.5],
  [64, 8, 1],
  [128, 4, 0.5],
]

test.each(cases)(
  'loads of %i experts, %i chosen, exponent %d: all slots, none above the most',
  (...sizes) => {
    const loads = skewedLoads(...sizes)
    expect(loads.reduce((a, b) => a + b)).toBeCloseTo(sizes[1], 10)
    expect(Math.max(...loads)).toBeLessThanOrEqual(0.4)
    expect(loads).toEqual([...loads].sort((a, b) => b - a))
  },
)

test("below the most, loads are Zipf's", () => {
  const [first = 0, second = 0, , fourth = 0] = skewedLoads(128, 4, 0.5)
  expect(first / second).toBeCloseTo(Math.SQRT2, 10)
  expect(first / fourth).toBeCloseTo(2, 10)
})

test('with exponent 0 rows stay as they are', () => {
  for (const scale of skewedScales(64, 8, 0)) expect(scale).toBeCloseTo(1, 10)
})

test('loads differ only where less than 0.4 of the experts are chosen', () => {
  expect([canBeSkewed(8, 3), canBeSkewed(5, 2), canBeSkewed(4, 2)]).toEqual([true, false, false])
})

describe('what a router of scaled rows measures', () => {
  const [tokens, width] = [8192, 1024]

  // Four deviations of each: of the tokens drawn, sqrt(P (1 - P) / T) <= 0.5 / sqrt(T); of a row's length, which is off by
  // 1 / sqrt(2 D) and moves its load by at most max z phi(z) = 0.242 of that.
  const chance = 4 * (0.5 / Math.sqrt(tokens) + 0.242 / Math.sqrt(2 * width))
  // That the K-th score varies: by simulation of independent normals, at most this for the sizes here.
  const rule = 0.04

  test.each(cases)('%i experts, %i chosen, exponent %d', (numExperts, topK, exponent) => {
    const measured = measuredLoads(numExperts, topK, skewedScales(numExperts, topK, exponent))
    const wanted = skewedLoads(numExperts, topK, exponent)
    const tolerance = exponent === 0 ? chance : chance + rule
    for (const [rank, load] of measured.entries())
      expect(Math.abs(load - (wanted[rank] ?? 0))).toBeLessThan(tolerance)
  })

  /** The share of all tokens that goes to each expert. */
  function measuredLoads(numExperts: number, topK: number, scales: readonly number[]): number[] {
    return noGrad(() =>
      tidy(() => {
        const router = new TopKRouter({ hiddenSize: width, numExperts, topK })
        const rows = randn([numExperts, width], { seed: 1 }).div(Math.sqrt(width)) // logits of deviation 1
        router.weight.copy_(rows.mul(tensor(scales).unsqueeze(-1)))
        const { indices } = router.forward(randn([tokens, width], { seed: 2 }))
        const loads = Array.from({ length: numExperts }, () => 0)
        for (const expert of indices.toTypedArray<'i64'>()) loads[Number(expert)]! += 1 / tokens
        return loads
      }),
    )
  }
})
