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
    expectClose(one.forward(x).weights, flatOf(one.secondary.weight, 2).weights, 1e-12)
    const four = new HierarchicalRouter({ hiddenSize: 6, numExperts: 4, groups: 4, topGroups: 2, topK: 1 })
      .to('f64')
      .eval()
    noGrad(() => four.primary.weight.normal_())
    expectClose(four.forward(x).weights, flatOf(four.primary.weight, 2).weights, 1e-12)
  })

  test('losses of both levels are finite, and reach the first gate', () => {
    const router = new HierarchicalRouter({ hiddenSize: 6, numExperts: 8, groups: 4, topGroups: 2, topK: 1 })
    const { losses } = router.forward(randn([30, 6], { seed: 1 }))
    expect(Object.keys(losses ?? {})).toEqual(['primaryImportance', 'primaryLoad', 'importance', 'load'])
    losses?.load?.backward()
    expect(router.primary.noise_weight.grad?.abs().sum().item()).toBeGreaterThan(0)
  })
})
