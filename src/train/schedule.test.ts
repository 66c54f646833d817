import fc from 'fast-check'
import { expect, test } from 'vitest'
import { learningRateFactor, type Schedule, scheduleSchema } from './schedule.ts'

const factors = (schedule: Schedule, steps: number, at: readonly number[]): number[] =>
  at.map(step => Number(learningRateFactor(schedule, step, steps).toFixed(12)))

test('the cosine spans the steps after the warm-up, from the peak to the minimum', () => {
  const schedule: Schedule = { kind: 'cosine', warmup: 10, minimum: 0.1 }
  expect(factors(schedule, 110, [0, 4, 9])).toEqual([0.1, 0.5, 1])
  // A third of the way cos(pi / 3) = 1/2: three quarters of what lies above the minimum.
  expect(factors(schedule, 100, [10, 40, 55, 70, 100])).toEqual([1, 0.775, 0.55, 0.325, 0.1])
  expect(factors(schedule, 110, [10, 60, 110, 1000])).toEqual([1, 0.55, 0.1, 0.1])
})

test('the decay is over the last steps, whatever the warm-up', () => {
  const schedule: Schedule = { kind: 'wsd', warmup: 10, decay: 20, minimum: 0.1 }
  expect(factors(schedule, 100, [4, 10, 80])).toEqual([0.5, 1, 1])
  expect(factors(schedule, 100, [85, 90, 100, 1000])).toEqual([0.775, 0.55, 0.1, 0.1])
})

test('the inverse root has fallen to a half at four times the warm-up', () => {
  const schedule: Schedule = { kind: 'inverse-sqrt', warmup: 10 }
  expect(factors(schedule, 100, [4, 9, 39, 89, 999])).toEqual([0.5, 1, 0.5, Number((1 / 3).toFixed(12)), 0.1])
})

test('a warm-up as long as the run is all there is of it', () => {
  for (const kind of ['cosine', 'constant'] as const) {
    const schedule = scheduleSchema.parse({ kind, warmup: 8 })
    expect(factors(schedule, 8, [0, 3, 7])).toEqual([0.125, 0.5, 1])
    expect(factors(schedule, 4, [3])).toEqual([0.5])
  }
})

test('property: the factor grows through the warm-up, then never rises, between the minimum and 1', () => {
  const runs = fc.record({
    kind: fc.constantFrom('cosine' as const, 'wsd' as const),
    warmup: fc.nat(20),
    after: fc.integer({ min: 1, max: 60 }),
    decay: fc.integer({ min: 1, max: 60 }),
    minimum: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  fc.assert(
    fc.property(runs, ({ kind, warmup, after, decay, minimum }) => {
      const schedule = kind === 'wsd' ? { kind, warmup, decay, minimum } : { kind, warmup, minimum }
      const steps = warmup + after
      const all = Array.from({ length: steps + 2 }, (_, step) => learningRateFactor(schedule, step, steps))
      for (let step = 1; step < all.length; step++) {
        if (step < warmup) expect(all[step]).toBeGreaterThan(all[step - 1]!)
        else if (step > warmup) expect(all[step]).toBeLessThanOrEqual(all[step - 1]! + 1e-12)
      }
      for (const factor of all.slice(warmup)) {
        expect(factor).toBeGreaterThanOrEqual(minimum - 1e-12)
        expect(factor).toBeLessThanOrEqual(1 + 1e-12)
      }
      expect(all[steps]).toBeCloseTo(minimum, 12)
    }),
    { numRuns: 50 },
  )
})
