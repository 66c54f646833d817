import { describe, expect, test } from 'vitest'
import { expectClose } from '../../../tests/support/tensors.ts'
import { noGrad, randn, type Tensor } from '../../torch/index.ts'
import { HierarchicalRouter, type TokenRouting, TopKRouter } from '../index.ts'

describe('hierarchical', () => {
  test('with one group it is flat, and with one expert per group too', () => {
    const x = randn([20, 6], { dtype: 'f64', seed: 1 })
    const flatOf = (weight: Tensor, topK: number): TokenRouting => {
      const flat = new TopKRouter({ hiddenSize: 6, numExperts: 4, topK }).to('f64')
      noGrad(() => flat.weight.copy_(weight))
      return flat.forward(x)
    }
    const one = new HierarchicalRouter({ hiddenSize: 6, numExperts: 4, groups: 1, topGroups: 1, topK: 2 })
      .to('f64')
      .eval()
    noGrad(() => one.weight.normal_())
    expectClose(one.forward(x).weights, flatOf(one.weight, 2).weights, 1e-12)
    const four = new HierarchicalRouter({ hiddenSize: 6, numExperts: 4, groups: 4, topGroups: 2, topK: 1 })
      .to('f64')
      .eval()
    noGrad(() => four.primary_weight.normal_())
    expectClose(four.forward(x).weights, flatOf(four.primary_weight, 2).weights, 1e-12)
  })

  test('losses of both levels are finite, and reach the first gate', () => {
    const router = new HierarchicalRouter({ hiddenSize: 6, numExperts: 8, groups: 4, topGroups: 2, topK: 1 })
    const { losses } = router.forward(randn([30, 6], { seed: 1 }))
    expect(Object.keys(losses ?? {})).toEqual(['primaryImportance', 'primaryLoad', 'importance', 'load'])
    losses?.load?.backward()
    expect(router.primary_noise_weight.grad?.abs().sum().item()).toBeGreaterThan(0)
    expect(router.noise_weight.grad?.abs().sum().item()).toBeGreaterThan(0)
  })

  test('load counts tokens, importance weights: a group that few tokens use has little load', () => {
    const router = new HierarchicalRouter({ hiddenSize: 6, numExperts: 8, groups: 4, topGroups: 2, topK: 1 })
    noGrad(() => {
      for (const parameter of router.parameters()) parameter.normal_()
    })
    const { losses } = router.forward(randn([30, 6], { seed: 1 }))
    expect(Math.abs((losses?.load?.item() ?? 0) - (losses?.importance?.item() ?? 0))).toBeGreaterThan(1e-3)
  })

  test('slots are ordered by weight', () => {
    const router = new HierarchicalRouter({ hiddenSize: 6, numExperts: 8, groups: 4, topGroups: 2, topK: 2 })
    noGrad(() => {
      for (const parameter of router.parameters()) parameter.normal_()
    })
    for (const row of router
      .eval()
      .forward(randn([20, 6], { seed: 1 }))
      .weights.tolist() as number[][]) {
      expect(row).toEqual(row.toSorted((a, b) => b - a))
    }
  })

  test.each([
    [{ groups: 3 }, 'router.groups: must divide the 8 experts, got 3'],
    [{ groups: 4, topGroups: 5 }, 'router.topGroups: must be in 1..4 (the number of groups), got 5'],
    [{ groups: 4, topK: 3 }, 'router.k: must be in 1..2 (the experts of a group), got 3'],
  ])('%o is refused', (options, message) => {
    expect(() => new HierarchicalRouter({ hiddenSize: 6, numExperts: 8, ...options })).toThrow(message)
  })
})
