import fc from 'fast-check'
import { expect, test } from 'vitest'
import { anyCase, edgeCases, expectGradients, expectSameAsLoop } from '../../../tests/support/experts.ts'
import { manualSeed, noGrad, tensor } from '../../torch/index.ts'
import { ClampedExperts } from '../index.ts'

function make(hiddenSize: number, numExperts: number, limit = 0.3): ClampedExperts {
  manualSeed(1)
  return new ClampedExperts({ numExperts, hiddenSize, intermediateSize: 5, limit })
}

test.each(edgeCases)('equal the loop over experts with %s', (_, sizes) => {
  using experts = make(sizes.hidden, sizes.numExperts)
  expectSameAsLoop(experts, sizes)
})

test('property: for any sizes', () => {
  fc.assert(
    fc.property(anyCase, sizes => {
      using experts = make(sizes.hidden, sizes.numExperts)
      expectSameAsLoop(experts, sizes)
    }),
    { numRuns: 30 },
  )
})

test('gradients are the derivatives, away from the bounds', () => {
  using experts = make(3, 3, 50)
  expectGradients(experts, { tokens: 4, hidden: 3, numExperts: 3, topK: 2 })
})

test('the gate is bounded from above, the other half to both sides', () => {
  using experts = new ClampedExperts({ numExperts: 1, hiddenSize: 1, intermediateSize: 2, limit: 7 }).to(
    'f64',
  )
  noGrad(() => {
    // Of x = 1 gates 9 and -9, ups -8 and 2, plus biases of nothing.
    experts.gate_up_proj.copy_(tensor([[[9], [-9], [-8], [2]]]))
    experts.gate_up_proj_bias.zero_()
    experts.down_proj.copy_(tensor([[[1, 10]]]))
    experts.down_proj_bias.copy_(tensor([[0.5]]))
  })
  const swish = (gate: number): number => gate / (1 + Math.exp(-1.702 * gate))
  const wanted = (-7 + 1) * swish(7) + 10 * (2 + 1) * swish(-9) + 0.5
  expect(experts.expert(0, tensor([[1]], { dtype: 'f64' })).item()).toBeCloseTo(wanted, 12)
})
