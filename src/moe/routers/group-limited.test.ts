import { expect, test } from 'vitest'
import { four, identity, rounded, z } from '../../../tests/support/router-examples.ts'
import { tensor } from '../../torch/index.ts'
import { BiasedTopKRouter, GroupLimitedRouter } from '../index.ts'

const make = (options = {}): GroupLimitedRouter =>
  identity(new GroupLimitedRouter({ ...four, topK: 2, groups: 2, topGroups: 1, scale: 2, ...options }))

test('the best experts of the best group weigh their probability times the scale', () => {
  const { indices, weights } = make().forward(z)
  // p of row 0 = .643914 .236883 .087144 .032059; of row 1 = e^(0, 0, 1, 3) / 24.803818
  expect(indices.narrow(0, 0, 2).tolist()).toEqual([
    [0, 1],
    [3, 2],
  ])
  expect(rounded(weights.select(0, 0), 5)).toEqual([1.28783, 0.47377])
  expect(rounded(weights.select(0, 1), 5)).toEqual([1.61955, 0.21918])
})

test("a group counts as its best expert, where DeepSeek-V3's counts as its best two", () => {
  const x = tensor([[3, 0, 2.9, 2.9]], { dtype: 'f64' })
  expect(make().forward(x).indices.tolist()).toEqual([[0, 1]])
  const v3 = identity(new BiasedTopKRouter({ ...four, topK: 2, groups: 2, topGroups: 1 }))
  expect((v3.forward(x).indices.tolist() as number[][])[0]?.sort()).toEqual([2, 3])
})

test('groups that do not divide the experts, or hold too few, are refused', () => {
  expect(() => make({ groups: 3 })).toThrow('router.groups: must divide the 4 experts, got 3')
  expect(() => make({ topGroups: 3 })).toThrow('router.topGroups: must be in 1..2')
  expect(() => make({ topK: 3 })).toThrow('router.k: must be in 1..2')
})
