import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../tests/support/tensors.ts'
import type { Module } from '../nn/index.ts'
import { gradcheck, manualSeed, ones, randn, type Tensor, tensor, tidy } from '../torch/index.ts'
import {
  capacityDispatch,
  type Experts,
  fixedCapacityDispatch,
  GatedExperts,
  MoeLayer,
  PlainExperts,
  referenceDispatch,
  TopKRouter,
} from './index.ts'

interface Shape {
  tokens: number
  hidden: number
  width: number
  numExperts: number
  topK: number
}

const kinds = { gated: GatedExperts, plain: PlainExperts }

function makeLayer(shape: Shape, kind: keyof typeof kinds, seed = 1): MoeLayer<TopKRouter, Module & Experts> {
  manualSeed(seed)
  const sizes = { hiddenSize: shape.hidden, numExperts: shape.numExperts }
  const experts = new kinds[kind]({ ...sizes, intermediateSize: shape.width })
  return new MoeLayer(new TopKRouter({ ...sizes, topK: shape.topK }), experts).to('f64')
}

/** Output and every gradient of `sum(y * weights)`. */
function run(layer: MoeLayer, x: Tensor): { y: Tensor; gradients: Tensor[] } {
  layer.zeroGrad()
  x.grad = null
  const { y } = layer.forward(x)
  y.mul(randn(y.shape, { dtype: 'f64', seed: 2 }))
    .sum()
    .backward()
  return { y, gradients: [x, ...layer.parameters()].map(leaf => leaf.grad ?? tensor(0)) }
}

function expectEqualToReference(shape: Shape, kind: keyof typeof kinds): void {
  expectNoLeak(() => {
    using layer = makeLayer(shape, kind)
    const x = randn([shape.tokens, shape.hidden], { dtype: 'f64', seed: 3, requiresGrad: true })
    const fast = run(layer, x)
    layer.dispatch = referenceDispatch
    const slow = run(layer, x)
    // f64 sums of a few hundred terms of order one: 1e-9 leaves six digits above rounding.
    expectClose(fast.y, slow.y, 1e-9)
    for (const [i, gradient] of fast.gradients.entries())
      expectClose(gradient, slow.gradients[i] ?? tensor(0), 1e-9)
  })
}

describe.each(['gated', 'plain'] as const)('%s experts', kind => {
  test('the sorted dispatch equals the loop over experts, forward and gradient', () => {
    expectEqualToReference({ tokens: 64, hidden: 16, width: 24, numExperts: 8, topK: 2 }, kind)
  })

  test.each([
    ['one token', { tokens: 1, hidden: 4, width: 4, numExperts: 4, topK: 2 }],
    ['one expert', { tokens: 5, hidden: 4, width: 4, numExperts: 1, topK: 1 }],
    ['every expert active', { tokens: 7, hidden: 3, width: 5, numExperts: 3, topK: 3 }],
    ['more experts than tokens', { tokens: 2, hidden: 4, width: 3, numExperts: 16, topK: 1 }],
    ['many choices', { tokens: 3, hidden: 4, width: 2, numExperts: 100, topK: 3 }],
  ])('it does so with %s', (_, shape) => expectEqualToReference(shape, kind))

  test('gradients are the derivatives', () => {
    using layer = makeLayer({ tokens: 3, hidden: 3, width: 2, numExperts: 4, topK: 2 }, kind)
    const x = randn([3, 3], { dtype: 'f64', seed: 5, requiresGrad: true })
    gradcheck(() => layer.forward(x).y.square().sum(), [x, ...layer.parameters()])
  })
})

test('property: sorted dispatch equals the reference for any sizes', () => {
  const shape = fc
    .record({
      tokens: fc.integer({ min: 1, max: 20 }),
      hidden: fc.integer({ min: 1, max: 9 }),
      width: fc.integer({ min: 1, max: 9 }),
      numExperts: fc.integer({ min: 1, max: 9 }),
    })
    .chain(sizes => fc.integer({ min: 1, max: sizes.numExperts }).map(topK => ({ ...sizes, topK })))
  fc.assert(fc.property(shape, fc.constantFrom('gated' as const, 'plain' as const), expectEqualToReference), {
    numRuns: 50,
  })
})

test('an empty batch gives an empty output and zero gradients', () => {
  using layer = makeLayer({ tokens: 0, hidden: 4, width: 4, numExperts: 4, topK: 2 }, 'gated')
  const x = randn([0, 4], { dtype: 'f64', requiresGrad: true })
  const { y } = layer.forward(x)
  expect(y.shape).toEqual([0, 4])
  y.sum().backward()
  expect(layer.experts.stateDict().get('down_proj')?.grad?.abs().sum().item() ?? 0).toBe(0)
})

test('experts that no token chose get no gradient', () => {
  using layer = makeLayer({ tokens: 1, hidden: 4, width: 4, numExperts: 4, topK: 1 }, 'gated')
  const { y, routing } = layer.forward(randn([1, 4], { dtype: 'f64', seed: 1 }))
  y.square().sum().backward()
  const chosen = routing.indices.item()
  const perExpert = layer.experts.stateDict().get('down_proj')?.grad?.abs().sum([1, 2]).tolist() as number[]
  expect(perExpert.map(sum => sum > 0)).toEqual([0, 1, 2, 3].map(e => e === chosen))
})

test('with all experts chosen the layer is the dense mixture', () => {
  using layer = makeLayer({ tokens: 6, hidden: 4, width: 4, numExperts: 3, topK: 3 }, 'gated')
  const x = randn([6, 4], { dtype: 'f64', seed: 1 })
  const { y, routing } = layer.forward(x)
  const mixture = [0, 1, 2]
    .map(e => layer.experts.expert(e, x).mul(routing.probs.narrow(1, e, 1)))
    .reduce((sum, part) => sum.add(part))
  expectClose(y, mixture, 1e-12)
})

test('padding is neither routed nor counted, and comes out as zero', () => {
  using layer = makeLayer({ tokens: 4, hidden: 4, width: 4, numExperts: 4, topK: 2 }, 'gated')
  const x = randn([4, 4], { dtype: 'f64', seed: 1 })
  const { y, routing } = layer.forward(x, { mask: tensor([true, true, false, true]) })
  expect(y.select(0, 2).tolist()).toEqual([0, 0, 0, 0])
  expect(routing.indices.select(0, 2).tolist()).toEqual([-1, -1])
  const alone = layer.forward(x.index([tensor([0n, 1n, 3n])]))
  expectClose(y.index([tensor([0n, 1n, 3n])]), alone.y, 1e-12)
})

test('the layer keeps the shape of its input', () => {
  using layer = makeLayer({ tokens: 6, hidden: 4, width: 4, numExperts: 4, topK: 2 }, 'plain')
  expect(layer.forward(ones([2, 3, 4], { dtype: 'f64' })).y.shape).toEqual([2, 3, 4])
})

test('dropped tokens contribute nothing, the others what they do without capacity', () => {
  tidy(() => {
    using layer = makeLayer({ tokens: 32, hidden: 8, width: 8, numExperts: 4, topK: 2 }, 'gated')
    const x = randn([32, 8], { dtype: 'f64', seed: 4 })
    layer.dispatch = capacityDispatch({ factor: 0.5, minimum: 1 })
    const { y, served } = layer.forward(x)
    layer.dispatch = referenceDispatch
    const full = layer.forward(x).y
    const lost = served.indices.eq(-1).sum(-1).tolist() as number[]
    expect(new Set(lost)).toEqual(new Set([0, 1, 2])) // the case has tokens that lost none, one and both slots
    for (const [t, count] of lost.entries()) {
      if (count === 0) expectClose(y.select(0, t), full.select(0, t), 1e-12)
      if (count === 2) expect(y.select(0, t).abs().max().item()).toBe(0)
    }
  })
})

describe('a fixed number of slots', () => {
  const shape = { tokens: 6, hidden: 8, width: 4, numExperts: 2, topK: 1 }
  const x = randn([3, 6, 8], { dtype: 'f64', seed: 3 })

  test('of each sequence: it gets what it gets alone', () => {
    using layer = makeLayer(shape, 'gated')
    layer.dispatch = fixedCapacityDispatch({ slots: 2, per: 'sequence' })
    const { y, served } = layer.forward(x)
    // 6 tokens choose once among 2 experts with 2 slots: two of each sequence at least are dropped.
    expect(served.indices.eq(-1).sum().item()).toBeGreaterThanOrEqual(3 * 2)
    for (let b = 0; b < 3; b++) expectClose(y.narrow(0, b, 1), layer.forward(x.narrow(0, b, 1)).y, 1e-12)
  })

  test('of the batch: each expert takes its earliest tokens', () => {
    using layer = makeLayer(shape, 'gated')
    layer.dispatch = fixedCapacityDispatch({ slots: 2, per: 'batch' })
    const { routing, served } = layer.forward(x)
    const taken = [0, 0]
    const wanted = (routing.indices.flatten().tolist() as number[]).map(e => (taken[e]!++ < 2 ? e : -1))
    expect(served.indices.flatten().tolist()).toEqual(wanted)
  })
})

test('a router and experts of different numbers are refused', () => {
  const gate = new TopKRouter({ hiddenSize: 4, numExperts: 8, topK: 2 })
  const experts = new GatedExperts({ numExperts: 4, hiddenSize: 4, intermediateSize: 4 })
  expect(() => new MoeLayer(gate, experts)).toThrow('the router chooses among 8 experts, but there are 4')
})
