import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  anyCase,
  edgeCases,
  expectGradients,
  expectSameAsLoop,
  type MixtureCase,
  mixture,
  routingOf,
} from '../../../tests/support/experts.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import { manualSeed, ones, randn, type Tensor, tensor, tidy, withKernels } from '../../torch/index.ts'
import { GatedExperts, PlainExperts, type StackedExpertsOptions } from '../index.ts'

const kinds = { gated: GatedExperts, plain: PlainExperts }

describe.each(['gated', 'plain'] as const)('%s experts', kind => {
  const make = (options: Partial<StackedExpertsOptions> = {}): GatedExperts | PlainExperts => {
    manualSeed(1)
    return new kinds[kind]({ numExperts: 3, hiddenSize: 8, intermediateSize: 6, ...options }).to('f64')
  }
  const fitting = ({ hidden, numExperts }: MixtureCase) => make({ hiddenSize: hidden, numExperts })

  test.each(edgeCases)('equal the loop over experts with %s', (_, sizes) => {
    using experts = fitting(sizes)
    withKernels([], () => expectSameAsLoop(experts, sizes))
    expectSameAsLoop(experts, sizes) // and with the kernel
  })

  test('property: for any sizes', () => {
    fc.assert(
      fc.property(anyCase, sizes => {
        using experts = fitting(sizes)
        withKernels([], () => expectSameAsLoop(experts, sizes))
      }),
      { numRuns: 40 },
    )
  })

  test('gradients are the derivatives', () => {
    using experts = make({ hiddenSize: 3, intermediateSize: 2, activation: 'silu' })
    withKernels([], () => expectGradients(experts, { tokens: 4, hidden: 3, numExperts: 3, topK: 2 }))
  })

  test('dropout is inactive when evaluating: the same bits as without', () => {
    using plain = make()
    using dropping = make({ dropout: 0.4 }).eval()
    const x = randn([5, 8], { dtype: 'f64', seed: 1 })
    expect(dropping.expert(1, x).equal(plain.expert(1, x))).toBe(true)
    expect(dropping.mix(x, oneEach(5)).equal(plain.mix(x, oneEach(5)))).toBe(true)
  })

  test('dropout in training leaves the kernel, which has none', () => {
    using experts = make({ dropout: 0.4 })
    const x = randn([5, 8], { dtype: 'f64', seed: 1 })
    const seeded = (mix: () => Tensor): Tensor => {
      manualSeed(3)
      return mix()
    }
    const dropped = seeded(() => experts.mix(x, oneEach(5)))
    expect(dropped.equal(seeded(() => withKernels([], () => experts.mix(x, oneEach(5)))))).toBe(true)
    expect(dropped.allclose(experts.eval().mix(x, oneEach(5)))).toBe(false)
  })

  test('dropout zeroes hidden units at its rate, and scales the others to keep the mean', () => {
    // The second projection is the identity, so that the output is the hidden activation itself.
    using experts = make({ hiddenSize: 50, intermediateSize: 50, numExperts: 1, dropout: 0.25 })
    const identity = tensor(Array.from({ length: 2500 }, (_, i) => (i % 51 === 0 ? 1 : 0)))
    experts.down_proj.detach().copy_(identity.view([1, 50, 50]))
    const x = randn([200, 50], { dtype: 'f64', seed: 2 })
    const kept = experts.eval().expert(0, x)
    const dropped = experts.train().expert(0, x)
    const alive = kept.ne(0) // relu makes zeros of its own
    const lost = dropped.maskedSelect(alive).eq(0).double().mean().item()
    // About 5,000 draws at least: a standard error of sqrt(.25 * .75 / 5000) = 0.006, five of them.
    expect(Math.abs(lost - 0.25)).toBeLessThan(0.031)
    const survivors = dropped.ne(0)
    expectClose(
      dropped.maskedSelect(survivors),
      kept.maskedSelect(survivors).div(0.75), // against a product with 1 / 0.75: two roundings
      4e-16 * kept.abs().max().item(),
    )
  })

  test('dropout draws anew each time, from the shared generator', () => {
    using experts = make({ dropout: 0.5 })
    const run = (): Tensor => mixture(experts, ones([4, 8], { dtype: 'f64' }), oneEach(4))
    manualSeed(7)
    const [first, second] = [run(), run()]
    expect(first.equal(second)).toBe(false)
    manualSeed(7)
    expect(run().equal(first)).toBe(true)
  })

  test.each([-0.1, 1, Number.NaN])('a dropout of %s is refused', rate => {
    tidy(() =>
      expect(() => make({ dropout: rate })).toThrow(
        `experts.dropout: must be at least 0 and below 1, got ${rate}`,
      ),
    )
  })
})

/** Every token to one of three experts in turn, with weight 1. */
function oneEach(tokens: number): ReturnType<typeof routingOf> {
  const indices = tensor(Array.from({ length: tokens }, (_, t) => BigInt(t % 3))).view([tokens, 1])
  return routingOf(indices, ones([tokens, 1], { dtype: 'f64' }), 3)
}

test.each(edgeCases)('plain experts with biases equal the loop with %s', (_, sizes) => {
  manualSeed(1)
  const { hidden: hiddenSize, numExperts } = sizes
  using experts = new PlainExperts({ numExperts, hiddenSize, intermediateSize: 6, bias: true })
  expectSameAsLoop(experts, sizes)
})
