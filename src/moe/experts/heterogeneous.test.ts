import fc from 'fast-check'
import { expect, test } from 'vitest'
import { anyCase, edgeCases, expectGradients, expectSameAsLoop } from '../../../tests/support/experts.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import type { Activation } from '../../nn/index.ts'
import { manualSeed, noGrad, randn } from '../../torch/index.ts'
import { GatedExperts, HeterogeneousExperts, PlainExperts } from '../index.ts'

const activations: Activation[] = ['silu', 'gelu', 'gelu-tanh', 'relu']

/** Widths 2, 3, 4, ..., every third expert plain, activations in turn. */
function makeExperts(numExperts: number, hiddenSize: number): HeterogeneousExperts {
  manualSeed(1)
  const experts = Array.from({ length: numExperts }, (_, e) => ({
    intermediateSize: 2 + e,
    gated: e % 3 !== 2,
    activation: activations[e % 4] ?? 'silu',
  }))
  return new HeterogeneousExperts({ hiddenSize, experts })
}

test.each(edgeCases)('they equal the loop over experts with %s', (_, sizes) => {
  using experts = makeExperts(sizes.numExperts, sizes.hidden)
  expectSameAsLoop(experts, sizes)
})

test('property: for any sizes', () => {
  fc.assert(
    fc.property(anyCase, sizes => {
      using experts = makeExperts(sizes.numExperts, sizes.hidden)
      expectSameAsLoop(experts, sizes)
    }),
    { numRuns: 40 },
  )
})

test('gradients are the derivatives', () => {
  manualSeed(1)
  using experts = new HeterogeneousExperts({
    hiddenSize: 3,
    experts: [
      { intermediateSize: 2 },
      { intermediateSize: 4, activation: 'gelu' },
      // Smooth, since a difference quotient across relu's corner is no derivative.
      { intermediateSize: 3, gated: false, activation: 'silu' },
    ],
  })
  expectGradients(experts, { tokens: 5, hidden: 3, numExperts: 3, topK: 2 })
})

test.each([
  ['gated', GatedExperts],
  ['plain', PlainExperts],
] as const)('with equal widths they are %s experts', (kind, Stacked) => {
  using stacked = new Stacked({ numExperts: 3, hiddenSize: 4, intermediateSize: 5 })
  using experts = new HeterogeneousExperts({
    hiddenSize: 4,
    experts: Array.from({ length: 3 }, () => ({ intermediateSize: 5, gated: kind === 'gated' })),
  })
  noGrad(() => {
    for (const [name, parameter] of experts.namedParameters()) {
      const [, e, projection] = /^(\d)\.(\w+)\./.exec(name) ?? []
      const stack = stacked.stateDict().get(kind === 'gated' ? place(projection) : (projection ?? ''))
      const slice = stack?.select(0, Number(e))
      parameter.copy_(
        projection === 'up_proj' && kind === 'gated'
          ? slice!.narrow(0, 5, 5)
          : slice!.narrow(0, 0, parameter.size(0)),
      )
    }
    const x = randn([6, 4], { seed: 1 })
    for (let e = 0; e < 3; e++) expectClose(experts.expert(e, x), stacked.expert(e, x), 1e-6) // f32, 5 terms
  })
})

/** Where GatedExperts keep a projection. */
const place = (projection = ''): string => (projection === 'down_proj' ? 'down_proj' : 'gate_up_proj')

test('widths and sizes are those of the experts', () => {
  using experts = makeExperts(3, 10)
  expect(experts.widths).toEqual([2, 3, 4])
  expect(experts.sizes).toEqual([3 * 10 * 2, 3 * 10 * 3, 2 * 10 * 4]) // the third is plain
  expect(experts.numParameters).toBe(60 + 90 + 80)
})

test.each([0, 2.5, -1])('a width of %s is refused', width => {
  const experts = [{ intermediateSize: 3 }, { intermediateSize: width }]
  expect(() => new HeterogeneousExperts({ hiddenSize: 4, experts })).toThrow(
    `experts.1.intermediateSize: must be a whole number from 1 on, got ${width}`,
  )
})
