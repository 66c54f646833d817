import { describe, expect, test } from 'vitest'
import { four, rounded } from '../../../tests/support/router-examples.ts'
import { ones, randn, type Tensor, tensor } from '../../torch/index.ts'
import { countPerExpert, NoisyTopKRouter, smoothLoad } from '../index.ts'
import { squaredVariation } from './noisy-top-k.ts'

describe('noisy top-k', () => {
  test('the smooth load of a worked example', () => {
    const clean = tensor([[1, 0.5, 0, -1]], { dtype: 'f64' })
    const deviation = tensor([[0, 0.5, -0.5, 0].map(x => Math.log1p(Math.exp(x)))], { dtype: 'f64' }) // softplus
    const noisy = clean.add(tensor([[0.3, -0.2, 0.8, 0.1]], { dtype: 'f64' }).mul(deviation))
    expect(rounded(smoothLoad(clean, noisy, deviation, 2).select(0, 0))).toEqual([
      0.841926, 0.549323, 0.25987, 0.023304,
    ])
  })

  test('it is how often an expert is among the K when its own noise is drawn anew', () => {
    const clean = tensor([[1, 0.5, 0, -1]])
    const deviation = tensor([[0.7, 1, 0.5, 0.7]])
    const noise = tensor([[0.3, -0.2, 0.8, 0.1]])
    const expected = smoothLoad(clean, clean.add(noise.mul(deviation)), deviation, 2)
    const draws = 40_000
    for (let e = 0; e < 4; e++) {
      const drawn = noise.expand([draws, 4]).clone()
      drawn.select(1, e).copy_(randn([draws], { seed: e }))
      const ranks = clean.add(drawn.mul(deviation)).argsort(-1, true).narrow(1, 0, 2)
      const share = ranks.eq(e).any(-1).float().mean().item()
      // Five standard deviations of a share of 40,000 draws.
      expect(Math.abs(share - (expected.select(0, 0).select(0, e).item() ?? 0))).toBeLessThan(
        5 * Math.sqrt(0.25 / draws),
      )
    }
  })

  test('the maps start at zero, and evaluation adds no noise', () => {
    const router = new NoisyTopKRouter({ ...four, topK: 2 })
    expect(router.weight.abs().sum().item() + router.noise_weight.abs().sum().item()).toBe(0)
    const x = randn([50, 4], { seed: 1 })
    const trained = countPerExpert(router.train().forward(x))
    expect(trained.every(count => count > 0)).toBe(true) // noise alone spreads the load
    expect(countPerExpert(router.eval().forward(x))).toEqual([50, 50, 0, 0]) // ties go to the lowest
  })

  test('importance and load are zero exactly when equal, and reach both maps', () => {
    expect(squaredVariation(ones([5])).item()).toBe(0)
    expect(squaredVariation(tensor([1, 2, 3])).item()).toBeCloseTo(1 / 4, 6)
    const router = new NoisyTopKRouter({ ...four, topK: 2 })
    const { losses } = router.forward(randn([20, 4], { seed: 2 }))
    losses?.load?.add(losses.importance as Tensor).backward()
    for (const parameter of router.parameters()) {
      expect(parameter.grad?.abs().sum().item()).toBeGreaterThan(0)
    }
  })
})
