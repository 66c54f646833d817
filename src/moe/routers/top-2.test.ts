import { describe, expect, test } from 'vitest'
import { four, identity, z } from '../../../tests/support/router-examples.ts'
import { Top2Router } from '../index.ts'

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
})
