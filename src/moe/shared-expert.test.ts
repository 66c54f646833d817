import { describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../tests/support/tensors.ts'
import { GatedMlp } from '../nn/index.ts'
import { gradcheck, manualSeed, noGrad, ones, randn, tensor } from '../torch/index.ts'
import {
  capacityDispatch,
  dropless,
  GatedExperts,
  MoeLayer,
  referenceDispatch,
  type SharedExpertMoe,
  type SharedExpertOptions,
  splitExperts,
  TopKRouter,
  withSharedExpert,
} from './index.ts'

function makeLayer(options: Partial<SharedExpertOptions> = {}): SharedExpertMoe<TopKRouter, GatedExperts> {
  manualSeed(1)
  const sizes = { hiddenSize: 4, numExperts: 3 }
  const experts = new GatedExperts({ ...sizes, intermediateSize: 2 })
  const routed = new MoeLayer(new TopKRouter({ ...sizes, topK: 2 }), experts)
  return withSharedExpert(routed, { hiddenSize: 4, intermediateSize: 3, ...options }).to('f64')
}

const x = randn([2, 3, 4], { dtype: 'f64', seed: 1 })

describe('a layer with a shared expert', () => {
  test('is the shared expert plus the routed ones, in the same output type', () => {
    expectNoLeak(() => {
      using layer = makeLayer()
      const alone = new MoeLayer(layer.gate, layer.experts).forward(x)
      const { y, routing, served } = layer.forward(x)
      expect(y.equal(alone.y.add(layer.shared_expert.forward(x)))).toBe(true)
      expect(routing.indices.equal(alone.routing.indices)).toBe(true)
      expect(served).toBe(routing)
    })
  })

  test('weighs it by a sigmoid when gated', () => {
    using layer = makeLayer({ gated: true })
    const alone = new MoeLayer(layer.gate, layer.experts).forward(x).y
    const scale = x.matmul(layer.shared_expert_gate!.weight.t()).sigmoid() // [2, 3, 1]
    expectClose(layer.forward(x).y, alone.add(scale.mul(layer.shared_expert.forward(x))), 1e-14)
  })

  test('names its parameters as Qwen2-MoE does', () => {
    using layer = makeLayer({ gated: true })
    expect([...layer.namedParameters().keys()]).toEqual([
      'gate.weight',
      'experts.gate_up_proj',
      'experts.down_proj',
      'shared_expert.gate_proj.weight',
      'shared_expert.up_proj.weight',
      'shared_expert.down_proj.weight',
      'shared_expert_gate.weight',
    ])
  })

  test.each([true, false])('has the gradients of its formula, gated %s', gated => {
    using layer = makeLayer({ gated })
    const input = randn([3, 4], { dtype: 'f64', seed: 5, requiresGrad: true })
    gradcheck(() => layer.forward(input).y.square().sum(), [input, ...layer.parameters()])
  })

  test.each([
    ['dropless', dropless],
    ['reference', referenceDispatch],
  ])('dispatches its routed experts as the layer did: %s', (_, dispatch) => {
    using layer = makeLayer()
    layer.dispatch = dispatch
    const same = withSharedExpert(layer, { hiddenSize: 4, intermediateSize: 1 })
    expect(same.dispatch).toBe(dispatch)
    expectClose(layer.forward(x).y, makeLayer().forward(x).y, 1e-13)
  })

  test('leaves a token that capacity dropped its shared expert', () => {
    using layer = makeLayer()
    layer.dispatch = capacityDispatch({ factor: 0.01, minimum: 0 })
    // A capacity of one slot for each expert, so that most of 40 equal tokens are served by none.
    const many = ones([40, 4], { dtype: 'f64' })
    const { y, served } = layer.forward(many)
    expect(served.indices.select(0, 39).tolist()).toEqual([-1, -1])
    expectClose(y.select(0, 39), layer.shared_expert.forward(many).select(0, 39), 1e-14)
  })

  test('gives padding zero, and the other tokens what they get without it', () => {
    using layer = makeLayer({ gated: true })
    const mask = tensor([
      [true, false, true],
      [true, true, false],
    ])
    const { y } = layer.forward(x, { mask })
    expect(y.select(0, 0).select(0, 1).abs().sum().item()).toBe(0)
    expect(y.select(0, 1).select(0, 2).abs().sum().item()).toBe(0)
    expectClose(y, layer.forward(x).y.mul(mask.unsqueeze(-1)), 1e-14)
  })

  test('works on no tokens', () => {
    using layer = makeLayer({ gated: true })
    expect(layer.forward(ones([0, 4], { dtype: 'f64' })).y.shape).toEqual([0, 4])
  })
})

test('two shared experts are one of twice the width', () => {
  manualSeed(1)
  using wide = new GatedExperts({ numExperts: 1, hiddenSize: 4, intermediateSize: 6 }).to('f64')
  using two = splitExperts(wide, 2)
  using layer = makeLayer({ intermediateSize: 6 })
  noGrad(() => {
    const [gate, up] = wide.gate_up_proj.select(0, 0).chunk(2, 0)
    layer.shared_expert.gate_proj.weight.copy_(gate!)
    layer.shared_expert.up_proj.weight.copy_(up!)
    layer.shared_expert.down_proj.weight.copy_(wide.down_proj.select(0, 0))
  })
  const rows = x.view([-1, 4])
  expect(layer.shared_expert).toBeInstanceOf(GatedMlp)
  expectClose(layer.shared_expert.forward(rows), two.expert(0, rows).add(two.expert(1, rows)), 1e-14)
})

test('a shared expert of no width is refused', () => {
  expect(() => makeLayer({ intermediateSize: 0 })).toThrow(
    'sharedExpert.intermediateSize: must be a whole number from 1 on, got 0',
  )
})
