import { expect, test } from 'vitest'
import { arange, tensor, zeros } from '../../torch/index.ts'
import { expertUsage, PeerLayer, unevenness, usedShare } from '../index.ts'

const massOf = (mass: number[]) => ({
  counts: tensor(mass.map(value => BigInt(value > 0 ? 1 : 0))),
  mass: tensor(mass, { dtype: 'f64' }),
})

test('uniform use has unevenness 0, and uses all', () => {
  const indices = arange(16).view([4, 2, 2])
  const usage = expertUsage({ kind: 'peer', indices, weights: zeros([4, 2, 2]).add(0.5), numExperts: 16 })
  expect(usage.counts.tolist()).toEqual(Array.from({ length: 16 }, () => 1))
  expect(usage.mass.tolist()).toEqual(Array.from({ length: 16 }, () => 0.5))
  expect(unevenness(usage)).toBeCloseTo(0, 14)
  expect(usedShare(usage)).toBe(1)
})

test('use of one expert alone has unevenness ln N', () => {
  const usage = massOf([0, 0, 7, 0, 0, 0, 0, 0])
  expect(unevenness(usage)).toBeCloseTo(Math.log(8), 14)
  expect(usedShare(usage)).toBe(1 / 8)
})

test('unevenness is the divergence from uniform: z = 1/2, 1/4, 1/4, 0', () => {
  const divergence = 0.5 * Math.log(0.5 * 4) + 2 * 0.25 * Math.log(0.25 * 4)
  expect(unevenness(massOf([2, 1, 1, 0]))).toBeCloseTo(divergence, 14)
})

test('padding counts nowhere, and no use at all is no unevenness', () => {
  const indices = tensor([[[3n, 0n]], [[-1n, -1n]]])
  const usage = expertUsage({
    kind: 'peer',
    indices,
    weights: tensor([[[0.75, 0.25]], [[0, 0]]]),
    numExperts: 4,
  })
  expect(usage.counts.tolist()).toEqual([1, 0, 0, 1])
  expect(usage.mass.tolist()).toEqual([0.25, 0, 0, 0.75])
  const none = expertUsage({
    kind: 'peer',
    indices: indices.narrow(0, 1, 1),
    weights: zeros([1, 1, 2]),
    numExperts: 4,
  })
  expect([unevenness(none), usedShare(none)]).toEqual([0, 0])
})

test('a layer: counts add up to T h k, masses of softmax gates to T h', () => {
  using layer = new PeerLayer({ hiddenSize: 4, numExperts: 49, heads: 3, topK: 2, querySize: 4 })
  const { routing } = layer.forward(zeros([10, 4]).normal_())
  const usage = expertUsage(routing)
  expect(usage.counts.sum().item()).toBe(10 * 3 * 2)
  expect(usage.mass.sum().item()).toBeCloseTo(10 * 3, 4) // weights in f32
})
