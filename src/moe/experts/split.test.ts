import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { mixture, routingOf } from '../../../tests/support/experts.ts'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { arange, manualSeed, ones, randn, type Tensor } from '../../torch/index.ts'
import { GatedExperts, type StackedExpertsOptions, splitExperts } from '../index.ts'

function makeExperts(options: Partial<StackedExpertsOptions> = {}): GatedExperts {
  manualSeed(1)
  return new GatedExperts({ numExperts: 2, hiddenSize: 4, intermediateSize: 12, ...options }).to('f64')
}

/** Every token to all experts, with weight 1. */
function allOn(experts: GatedExperts, x: Tensor): Tensor {
  const indices = arange(experts.numExperts)
    .unsqueeze(0)
    .expand([x.size(0), -1])
    .contiguous()
  return mixture(experts, x, routingOf(indices, ones(indices.shape, { dtype: 'f64' }), experts.numExperts))
}

describe('a split', () => {
  test('property: the pieces of an expert add up to it', () => {
    fc.assert(
      fc.property(
        fc.record({
          numExperts: fc.integer({ min: 1, max: 4 }),
          hiddenSize: fc.integer({ min: 1, max: 5 }),
          width: fc.integer({ min: 1, max: 4 }),
          pieces: fc.integer({ min: 1, max: 4 }),
        }),
        ({ numExperts, hiddenSize, width, pieces }) =>
          expectNoLeak(() => {
            using whole = makeExperts({ numExperts, hiddenSize, intermediateSize: width * pieces })
            using split = splitExperts(whole, pieces)
            const x = randn([3, hiddenSize], { dtype: 'f64', seed: 1 })
            for (let e = 0; e < numExperts; e++) {
              const sum = Array.from({ length: pieces }, (_, j) => split.expert(e * pieces + j, x)).reduce(
                (a, b) => a.add(b),
              )
              expectClose(sum, whole.expert(e, x), 1e-13) // sums of at most 16 terms of order one
            }
          }),
      ),
      { numRuns: 40 },
    )
  })

  test('of one expert, all pieces on with weight 1, is that expert', () => {
    using whole = makeExperts({ numExperts: 1 })
    using split = splitExperts(whole, 4)
    const x = randn([5, 4], { dtype: 'f64', seed: 1 })
    expectClose(allOn(split, x), whole.expert(0, x), 1e-13)
  })

  test('of several experts is their sum when all pieces are on', () => {
    using whole = makeExperts({ numExperts: 3 })
    using split = splitExperts(whole, 3)
    const x = randn([5, 4], { dtype: 'f64', seed: 1 })
    expectClose(allOn(split, x), allOn(whole, x), 1e-13)
  })

  test('keeps the number of parameters, the activation and the dropout', () => {
    using whole = makeExperts({ activation: 'gelu', dropout: 0.1 })
    using split = splitExperts(whole, 6)
    expect(split.numParameters).toBe(whole.numParameters)
    expect([split.numExperts, split.activation, split.dropout]).toEqual([12, 'gelu', 0.1])
    expect(split.down_proj.shape).toEqual([12, 4, 2])
    expect(split.down_proj.dtype).toBe('f64')
  })

  test('is a copy', () => {
    using whole = makeExperts()
    using split = splitExperts(whole, 1)
    expect(split.down_proj.equal(whole.down_proj)).toBe(true)
    expect(split.down_proj.sharesStorageWith(whole.down_proj)).toBe(false)
  })

  test.each([5, 0, 24, 1.5])('into %s pieces of a width of 12 is refused', pieces => {
    using whole = makeExperts()
    expect(() => splitExperts(whole, pieces)).toThrow(
      `pieces: must divide the experts' width 12, got ${pieces}`,
    )
  })
})
