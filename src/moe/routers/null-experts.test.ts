import { describe, expect, test } from 'vitest'
import { identity } from '../../../tests/support/router-examples.ts'
import { noGrad, randn, type Tensor, tensor } from '../../torch/index.ts'
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

  describe('the balance loss', () => {
    /** Two true experts and two null ones. */
    const balance = (probs: number[][], topK: number, mask: Tensor | null = null): number | undefined => {
      const options = { hiddenSize: 4, numExperts: 2, nullExperts: 2, topK }
      const logits = tensor(probs, { dtype: 'f64' }).log()
      return identity(new NullExpertRouter(options)).forward(logits, { mask }).losses?.balance?.item()
    }
    const [nullFirst, trueFirst] = [
      [0.1, 0.2, 0.4, 0.3],
      [0.6, 0.2, 0.1, 0.1],
    ] as const

    test('null experts have equal shares of the choices that fell on any of them', () => {
      // The only choice is the first null expert: its load of 1 becomes a half for both.
      expect(balance([[...nullFirst]], 1)).toBeCloseTo(4 * (0.5 * 0.4 + 0.5 * 0.3), 12)
      // One of two choices: loads 1/2, 0, 1/4, 1/4; mean probabilities 0.35, 0.2, 0.25, 0.2.
      const both = 4 * (0.5 * 0.35 + 0.25 * 0.25 + 0.25 * 0.2)
      expect(balance([[...nullFirst], [...trueFirst]], 1)).toBeCloseTo(both, 12)
    })

    test('loads are shares of all K choices', () => {
      // Experts 0 and 2 (null) are chosen: loads 1/2, 0, 1/4, 1/4.
      expect(balance([[0.3, 0.1, 0.4, 0.2]], 2)).toBeCloseTo(4 * (0.5 * 0.3 + 0.25 * 0.4 + 0.25 * 0.2), 12)
    })

    test('padding has no load and no probability', () => {
      const mask = tensor([true, false])
      expect(balance([[...nullFirst], [...trueFirst]], 1, mask)).toBeCloseTo(4 * (0.5 * 0.4 + 0.5 * 0.3), 12)
    })
  })
})
