import { describe, expect, test } from 'vitest'
import { noGrad, randn, tensor } from '../../torch/index.ts'
import { NullExpertRouter } from '../index.ts'

describe('null experts', () => {
  test('a token that chose only null experts comes out as zero', () => {
    const router = new NullExpertRouter({ hiddenSize: 2, numExperts: 2, nullExperts: 2, topK: 2 })
    noGrad(() =>
      router.weight.copy_(
        tensor([
          [0, 1],
          [0, 1],
          [1, 0],
          [1, 0],
        ]),
      ),
    )
    const { indices, weights } = router.forward(
      tensor([
        [1, 0],
        [0, 1],
      ]),
    )
    expect(indices.tolist()).toEqual([
      [-1, -1],
      [0, 1],
    ])
    expect(weights.tolist()).toEqual([
      [0, 0],
      [0.5, 0.5],
    ])
  })

  test('the mean of true experts is K times the share of true choices', () => {
    const router = new NullExpertRouter({ hiddenSize: 6, numExperts: 4, nullExperts: 3, topK: 3 })
    const { indices, losses } = router.forward(randn([500, 6], { seed: 1 }))
    const nulls = indices.lt(0).float().mean().item()
    expect(indices.ge(0).sum(-1).float().mean().item()).toBeCloseTo(3 * (1 - nulls), 5)
    expect(losses?.balance?.item()).toBeGreaterThan(0.9)
  })

  test('balance is 1 for even probabilities, however null choices fall among null experts', () => {
    const router = new NullExpertRouter({ hiddenSize: 2, numExperts: 2, nullExperts: 4, topK: 6 })
    noGrad(() => router.weight.zero_())
    expect(router.forward(randn([7, 2], { seed: 1 })).losses?.balance?.item()).toBeCloseTo(1, 6)
  })
})
