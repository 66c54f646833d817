import { expect, test } from 'vitest'
import { gradcheck, randn, tensor } from '../../torch/index.ts'
import { localizedBalanceLoss } from './localized.ts'

const [a, b] = [
  [0.7, 0.3],
  [0.4, 0.6],
] as const

test('is the variance over the mean of what experts count in samples, weighed by whether they are for them', () => {
  const weights = tensor([a, a, b], { dtype: 'f64' })
  const loss = localizedBalanceLoss(weights, [0, 2, 3], { isFirst: [true, false], delta: 0.5 })
  // Sample 0 of two tokens is for expert 0, sample 1 of one token for expert 1.
  const z = [1.5 * 1.4, 0.5 * 0.6, 0.5 * 0.4, 1.5 * 0.6]
  const mean = z.reduce((sum, value) => sum + value) / 4
  const variance = z.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 4
  expect(loss.item()).toBeCloseTo(variance / mean, 14)
})

test('is 0 where experts count in the samples that they are for by as much more as delta says, and not otherwise', () => {
  const options = { isFirst: [true, false], delta: 0.25 }
  const even = [0.375, 0.625] // weighed by 1.25 and 0.75 the same
  const shared = tensor([even, [...even].reverse()], { dtype: 'f64' })
  expect(localizedBalanceLoss(shared, [0, 1, 2], options).item()).toBeCloseTo(0, 14)
  const other = { ...options, isFirst: [false, true] }
  expect(localizedBalanceLoss(shared, [0, 1, 2], other).item()).toBeGreaterThan(0.1)
})

test('its gradient is that of finite differences', () => {
  const scores = randn([7, 5], { dtype: 'f64', seed: 1, requiresGrad: true })
  const options = { isFirst: [true, false, true], delta: 0.1 }
  gradcheck(() => localizedBalanceLoss(scores.softmax(-1), [0, 2, 3, 7], options), [scores])
})
