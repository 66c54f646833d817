import { describe, expect, test } from 'vitest'
import { four, identity, z } from '../../../tests/support/router-examples.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import { tensor } from '../../torch/index.ts'
import { type SecondExpertPolicy, type TokenRouting, Top2Router } from '../index.ts'

describe('top-2', () => {
  const second = (options: object): number[] =>
    identity(new Top2Router({ ...four, ...options }))
      .forward(z)
      .indices.select(1, 1)
      .tolist() as number[]

  test('policies', () => {
    expect(second({ policy: 'all' })).toEqual([1, 2, 0])
    expect(second({ policy: 'none' })).toEqual([-1, -1, -1])
    // Second shares of the two: 0.269, 0.119, 0.269.
    expect(second({ policy: 'threshold', threshold: 0.2 })).toEqual([1, -1, 0])
  })

  test('random keeps the second in proportion to its weight', () => {
    const router = identity(new Top2Router({ ...four, policy: 'random', threshold: 0.5 }))
    const many = z.narrow(0, 0, 1).expand([20_000, 4])
    const share = router.forward(many).indices.select(1, 1).ge(0).float().mean().item()
    expect(Math.abs(share - 0.268941 / 0.5)).toBeLessThan(5 * Math.sqrt(0.25 / 20_000))
  })

  test('sampling draws the second from the softmax without the first', () => {
    const router = identity(new Top2Router({ ...four, policy: 'sampling' }))
    const drawn = router.forward(z.narrow(0, 0, 1).expand([20_000, 4])).indices.select(1, 1)
    const total = Math.exp(1) + Math.exp(0) + Math.exp(-1)
    for (const [e, logit] of [
      [1, 1],
      [2, 0],
      [3, -1],
    ] as const) {
      const share = drawn.eq(e).float().mean().item()
      expect(Math.abs(share - Math.exp(logit) / total)).toBeLessThan(5 * Math.sqrt(0.25 / 20_000))
    }
  })

  test('random drops no second expert in evaluation, however light', () => {
    const router = identity(new Top2Router({ ...four, policy: 'random', threshold: 1e9 }))
    const { indices, weights } = router.eval().forward(z)
    expect(indices.tolist()).toEqual([
      [0, 1],
      [3, 2],
      [1, 0],
    ])
    // Logits of a token's two are 1, 2 and 1 apart.
    const share = (apart: number): number => 1 / (1 + Math.exp(-apart))
    const wanted = [share(1), share(2), share(1)].map(first => [first, 1 - first])
    expectClose(weights, tensor(wanted, { dtype: 'f64' }), 1e-8) // 1e-9 is added to the sum
  })

  test('the first expert is used whatever becomes of the second, and weighs the same', () => {
    const first = ({ indices, weights }: TokenRouting): unknown[] => [
      indices.select(1, 0).tolist(),
      weights.select(1, 0).tolist(),
    ]
    const of = (policy: SecondExpertPolicy, mode: 'train' | 'eval'): TokenRouting =>
      identity(new Top2Router({ ...four, policy, threshold: 1e9 }))
        [mode]()
        .forward(z)
    const wanted = first(of('all', 'eval'))
    expect(wanted[0]).toEqual([0, 3, 1])
    for (const policy of ['all', 'none', 'threshold', 'random'] as const) {
      for (const mode of ['train', 'eval'] as const) expect(first(of(policy, mode))).toEqual(wanted)
    }
    expect(first(of('sampling', 'eval'))).toEqual(wanted)
  })

  test('in evaluation sampling takes the best of the rest', () => {
    const router = identity(new Top2Router({ ...four, policy: 'sampling' })).eval()
    expect(router.forward(z).indices.select(1, 1).tolist()).toEqual([1, 2, 0])
  })
})
