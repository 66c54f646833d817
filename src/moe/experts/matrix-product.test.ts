import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  anyCase,
  edgeCases,
  expectGradients,
  expectSameAsLoop,
  mixture,
  routingOf,
} from '../../../tests/support/experts.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import { eye, manualSeed, noGrad, ones, randint, randn, type Tensor, tensor } from '../../torch/index.ts'
import {
  MatrixProductExperts,
  type MatrixProductExpertsOptions,
  MatrixProductLinear,
  writeOutExperts,
} from '../index.ts'

function makeExperts(options: Partial<MatrixProductExpertsOptions> = {}): MatrixProductExperts {
  manualSeed(1)
  const sizes = { numExperts: 3, hiddenSize: 8, intermediateSize: 12, outer: 2 }
  return new MatrixProductExperts({ ...sizes, ...options }).to('f64')
}

test.each(edgeCases)('they equal the loop over experts with %s', (_, sizes) => {
  using experts = makeExperts({ numExperts: sizes.numExperts, hiddenSize: sizes.hidden })
  expectSameAsLoop(experts, sizes)
})

test('property: for any sizes and bonds', () => {
  fc.assert(
    fc.property(anyCase, fc.integer({ min: 1, max: 4 }), (sizes, bond) => {
      const hidden = 4 * sizes.hidden
      using experts = makeExperts({ numExperts: sizes.numExperts, hiddenSize: hidden, bond })
      // Elements of W_e are of order 3 rather than 1/sqrt(D), sums of up to 24 terms: 1e-9 still leaves four digits.
      expectSameAsLoop(experts, { ...sizes, hidden })
    }),
    { numRuns: 30 },
  )
})

test('gradients are the derivatives', () => {
  using experts = makeExperts({ numExperts: 2, hiddenSize: 4, intermediateSize: 4, bond: 2 })
  expectGradients(experts, { tokens: 3, hidden: 4, numExperts: 2, topK: 2 })
})

describe('a matrix', () => {
  test('is the sum that the class states', () => {
    manualSeed(1)
    using family = new MatrixProductLinear(2, 8, 12, { outer: 2, bond: 3 }).to('f64')
    const [L, C, R] = [family.left.select(0, 1), family.central, family.right.select(0, 1)]
    const at = (t: Tensor, ...index: number[]): number =>
      index.reduce((part, i) => part.select(0, i), t).item()
    const W = family.weightOf(1)
    for (const [row, column] of [
      [0, 0],
      [7, 5],
      [11, 6],
    ] as const) {
      const [i, p, k] = [Math.floor(row / 6), Math.floor((row % 6) / 2), row % 2] // rows: 2 x 3 x 2
      const [j, q, l] = [Math.floor(column / 4), Math.floor((column % 4) / 2), column % 2] // columns: 2 x 2 x 2
      let sum = 0
      for (let a = 0; a < 3; a++)
        for (let b = 0; b < 3; b++) sum += at(L, i, j, a) * at(C, a, p, q, b) * at(R, b, k, l)
      expect(at(W, row, column)).toBeCloseTo(sum, 12)
    }
  })

  test('can be any matrix when nothing is cut: unit outer tensors leave the central one, reordered', () => {
    using family = new MatrixProductLinear(1, 8, 12, { outer: 2, bond: 4 }).to('f64')
    const wanted = randn([12, 8], { dtype: 'f64', seed: 1 })
    noGrad(() => {
      // [i p k, j q l] -> [ij, p, q, kl]
      const blocks = wanted.view([2, 3, 2, 2, 2, 2]).permute([0, 3, 1, 4, 2, 5])
      family.central.copy_(blocks.reshape([4, 3, 2, 4]))
      family.left.copy_(eye(4, 4, { dtype: 'f64' }).view([1, 2, 2, 4]))
      family.right.copy_(eye(4, 4, { dtype: 'f64' }).view([1, 4, 2, 2]))
    })
    expect(family.weightOf(0).equal(wanted)).toBe(true)
  })

  test.each([1, 4, 16])('starts with the variance of a Linear, at bond %i', bond => {
    manualSeed(3)
    using family = new MatrixProductLinear(40, 256, 256, { outer: 4, bond })
    // 1 / (3 in), the variance of a uniform variable on +-1/sqrt(in). Bond 1 spreads widest: the mean square of C's 256
    // elements is off by 0.9 / 16, those of 16 normal ones in L and R by 0.35 each, over 40 experts: 0.1 together.
    const squares = Array.from({ length: 40 }, (_, e) => family.weightOf(e).square().mean().item())
    const variance = squares.reduce((a, b) => a + b) / 40
    expect(Math.abs(variance * 3 * 256 - 1)).toBeLessThan(0.5)
  })
})

test.each([
  [2, 4],
  [2, 1],
  [1, 1],
])('with outer %i and bond %i the parameters are as many as stated', (outer, bond) => {
  using experts = makeExperts({ numExperts: 5, outer, bond })
  const central = (8 * 12 * bond ** 2) / outer ** 4
  expect(experts.numParameters).toBe(3 * (central + 5 * 2 * outer ** 2 * bond))
})

test('with the default bond the central tensor is as large as the matrix', () => {
  using experts = makeExperts()
  expect(experts.gate_proj.central.numel).toBe(8 * 12)
})

test('written out they are the same, and their gradients meet in the central tensor', () => {
  using experts = makeExperts()
  using whole = writeOutExperts(experts)
  const x = randn([9, 8], { dtype: 'f64', seed: 1 }).div(4)
  const routing = routingOf(randint(0, 3, [9, 2], { seed: 2 }), randn([9, 2], { dtype: 'f64', seed: 3 }), 3)
  expectClose(mixture(experts, x, routing), mixture(whole, x, routing), 1e-12)
  for (const each of [experts, whole]) mixture(each, x, routing).sum().backward()
  // dC = sum_e dW_e contracted with e's outer tensors.
  const family = experts.down_proj
  const wanted = noGrad(() =>
    [0, 1, 2]
      .map(e => {
        const dW = whole.down_proj.grad!.select(0, e).view([2, 2, 2, 2, 3, 2]) // i p k j q l
        const outerLeft = family.left.select(0, e).reshape([4, 4]) // ij, a
        const outerRight = family.right.select(0, e).reshape([4, 4]) // b, kl
        const blocks = dW.permute([0, 3, 1, 4, 2, 5]).reshape([4, 6, 4]) // ij, pq, kl
        return outerLeft
          .t()
          .matmul(blocks.reshape([4, 24]))
          .view([4, 6, 4])
          .matmul(outerRight.t())
      })
      .reduce((sum, part) => sum.add(part)),
  )
  expectClose(family.central.grad!, wanted.view([4, 2, 3, 4]), 1e-12)
})

test('experts that no token chose get no gradient of their own', () => {
  using experts = makeExperts()
  const routing = routingOf(tensor([[2n], [0n]]), ones([2, 1], { dtype: 'f64' }), 3)
  mixture(experts, randn([2, 8], { dtype: 'f64', seed: 1 }), routing)
    .square()
    .sum()
    .backward()
  for (const part of [experts.gate_proj.left, experts.up_proj.right, experts.down_proj.left]) {
    const perExpert = part.grad!.abs().sum([1, 2, 3]).tolist() as number[]
    expect(perExpert.map(sum => sum > 0)).toEqual([true, false, true])
  }
})

test('sizes that do not fit are refused by name', () => {
  expect(() => makeExperts({ intermediateSize: 10 })).toThrow(
    'experts.outer: outer^2 = 4 must divide intermediateSize = 10; take another outer',
  )
  expect(() => makeExperts({ bond: 5 })).toThrow('experts.bond: must be at most outer^2 = 4, got 5')
  expect(() => makeExperts({ bond: 0 })).toThrow('experts.bond: must be a whole number from 1 on, got 0')
  expect(() => makeExperts({ numExperts: 0 })).toThrow('experts.numExperts')
})
