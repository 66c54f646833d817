// Comparisons that tests share.
import { expect } from 'vitest'
import { memoryUse, type Tensor, tidy } from '../../src/torch/index.ts'

/** Largest absolute difference of two tensors of one shape. */
export function maxDifference(actual: Tensor, wanted: Tensor): number {
  expect(actual.shape).toEqual(wanted.shape)
  if (actual.numel === 0) return 0
  return tidy(() => actual.detach().double().sub(wanted.detach().double()).abs().max().item())
}

/** Fails unless every element differs by at most `tolerance`, absolute. */
export function expectClose(actual: Tensor, wanted: Tensor, tolerance: number): void {
  expect(maxDifference(actual, wanted)).toBeLessThanOrEqual(tolerance)
}

/** Runs `body` and fails if it leaves tensors behind. */
export function expectNoLeak(body: () => void): void {
  const before = memoryUse().tensors
  tidy(body)
  expect(memoryUse().tensors).toBe(before)
}
