// The kernels of routing and experts against their references.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectSameAsReference } from '../../tests/support/kernels.ts'
import { expectClose } from '../../tests/support/tensors.ts'
import type { Activation } from '../nn/index.ts'
import {
  arange,
  callOperator,
  fusedExperts,
  fusedRoute,
  gradcheck,
  manualSeed,
  randint,
  randn,
  type Tensor,
  tensor,
  tidy,
  withKernels,
  zeros,
} from '../torch/index.ts'
import { GatedExperts, MoeLayer, PlainExperts, type TokenRouting, TopKRouter } from './index.ts'

const f64 = { dtype: 'f64' } as const

/** A routing that is nothing but choices and weights. */
function routingOf(indices: Tensor, weights: Tensor, numExperts: number): TokenRouting {
  const scores = zeros([indices.size(0), numExperts], f64)
  return { kind: 'token', indices, weights, logits: scores, probs: scores, mask: null }
}

describe('experts', () => {
  interface Case {
    tokens: number
    model: number
    width: number
    numExperts: number
    topK: number
    activation: Activation
    gated: boolean
  }

  function expectSame(
    { tokens, model, width, numExperts, topK, activation, gated }: Case,
    choose?: () => Tensor,
  ): void {
    manualSeed(tokens + model)
    const sizes = { hiddenSize: model, intermediateSize: width, numExperts, activation }
    using experts = (gated ? new GatedExperts(sizes) : new PlainExperts(sizes)).to('f64')
    const x = randn([tokens, model], { ...f64, requiresGrad: true })
    const weights = randn([tokens, topK], { ...f64, requiresGrad: true })
    // From -1 on: some slots are empty. One token may even choose an expert twice.
    const indices = choose?.() ?? randint(-1, numExperts, [tokens, topK])
    const routing = routingOf(indices, weights, numExperts)
    const compute = (): Tensor[] => [experts.mix(x, routing)]
    expectSameAsReference('experts', [x, weights, ...experts.parameters()], compute, 1e-11)
  }

  const usual: Case = {
    tokens: 40,
    model: 12,
    width: 20,
    numExperts: 6,
    topK: 2,
    activation: 'silu',
    gated: true,
  }

  test.each(['silu', 'gelu', 'gelu-tanh', 'relu'] as const)('with %s, gated and plain', activation => {
    expectSame({ ...usual, activation })
    expectSame({ ...usual, activation, gated: false })
  })

  test.each([
    ['one token', { ...usual, tokens: 1 }],
    ['no token', { ...usual, tokens: 0 }],
    ['one expert', { ...usual, numExperts: 1 }],
    ['odd sizes', { ...usual, tokens: 37, model: 7, width: 13, numExperts: 5, topK: 3 }],
    ['more experts than tokens', { ...usual, tokens: 3, numExperts: 50 }],
    ['tokens for several tiles', { ...usual, tokens: 700 }],
  ])('with %s', (_, shape) => expectSame(shape))

  test('with one expert that gets every token', () => {
    expectSame({ ...usual, tokens: 600 }, () => zeros([600, 2], { dtype: 'i64' }).add(3))
  })

  test('with nothing but empty slots', () => expectSame(usual, () => zeros([40, 2], { dtype: 'i64' }).sub(1)))

  test('property: for any shape', () => {
    const size = (max: number) => fc.integer({ min: 1, max })
    const shape = fc.record({
      tokens: size(30),
      model: size(12),
      width: size(12),
      numExperts: size(9),
      topK: size(4),
      activation: fc.constantFrom<Activation>('silu', 'relu'),
      gated: fc.boolean(),
    })
    fc.assert(
      fc.property(shape, one => expectSame(one)),
      { numRuns: 60 },
    )
  })

  test('gradients are the derivatives', () => {
    const inputs = [randn([4, 3], f64), randn([4, 2], f64), randn([3, 4, 3], f64), randn([3, 3, 2], f64)].map(
      t => t.requiresGrad_(),
    )
    const [x, weights, up, down] = inputs as [Tensor, Tensor, Tensor, Tensor]
    const indices = randint(0, 3, [4, 2], { seed: 1 })
    gradcheck(() => fusedExperts(x, indices, weights, up, down, 'silu', true).square().sum(), inputs)
  })

  test('f32 is within rounding of f64', () => {
    tidy(() => {
      const make = (...shape: number[]): Tensor => randn(shape, { ...f64, seed: shape.length }).div(4)
      const [x, w, up, down] = [make(64, 32), make(64, 2), make(4, 64, 32), make(4, 32, 32)] as const
      const indices = randint(0, 4, [64, 2], { seed: 2 })
      const exact = fusedExperts(x, indices, w, up, down, 'silu', true)
      const single = fusedExperts(x.float(), indices, w.float(), up.float(), down.float(), 'silu', true)
      // Sums of 32 terms of order one, each rounded to 6e-8, and an exponential within 1e-7.
      expectClose(single, exact, 32 * 6e-8 * exact.abs().max().item() + 1e-6)
    })
  })

  test('shapes that do not fit are refused by name', () => {
    const x = randn([4, 3])
    const indices = randint(0, 2, [4, 1])
    expect(() =>
      fusedExperts(x, indices, randn([4, 1]), randn([2, 4, 5]), randn([2, 3, 2]), 'silu', true),
    ).toThrow('do not fit x')
    expect(() =>
      fusedExperts(x, indices, randn([4, 2]), randn([2, 4, 3]), randn([2, 3, 2]), 'silu', true),
    ).toThrow('different shapes')
    expect(() =>
      fusedExperts(x, indices.add(7), randn([4, 1]), randn([2, 4, 3]), randn([2, 3, 2]), 'silu', true),
    ).toThrow('is no expert of 2')
    expect(() =>
      fusedExperts(x, indices, randn([4, 1]), randn([2, 4, 3]), randn([2, 3, 2]), 'tanh', true),
    ).toThrow("activation 'tanh' is not one of")
  })
})

describe('route', () => {
  function expectSame(tokens: number, numExperts: number, topK: number, options: object): void {
    using router = new TopKRouter({ hiddenSize: 3, numExperts, topK, ...options }).to('f64')
    const x = randn([tokens, 3], { ...f64, seed: tokens, requiresGrad: true })
    const compute = (): Tensor[] => {
      const { weights, probs, indices } = router.forward(x)
      return [weights, probs, indices.double()]
    }
    expectSameAsReference('route', [x, ...router.parameters()], compute, 1e-12)
  }

  test.each([{ normalize: true }, { normalize: false }, { order: 'topk-softmax' }])('with %o', options => {
    expectSame(50, 8, 2, options)
    expectSame(1, 1, 1, options)
    expectSame(0, 4, 2, options)
    expectSame(300, 64, 8, options)
    expectSame(20, 5, 5, options)
  })

  test('property: for any shape', () => {
    const sizes = fc
      .integer({ min: 1, max: 20 })
      .chain(e => fc.tuple(fc.integer({ min: 0, max: 20 }), fc.constant(e), fc.integer({ min: 1, max: e })))
    fc.assert(
      fc.property(sizes, fc.boolean(), ([tokens, numExperts, topK], normalize) =>
        expectSame(tokens, numExperts, topK, { normalize }),
      ),
      { numRuns: 60 },
    )
  })

  test('ties go to the lowest index', () => {
    const [, indices] = fusedRoute(
      tensor([
        [0, 0, 0, 0],
        [1, 2, 1, 2],
      ]),
      3,
      true,
    )
    expect(indices.tolist()).toEqual([
      [0, 1, 2],
      [1, 3, 0],
    ])
  })

  test('huge logits neither overflow nor underflow to nothing', () => {
    const [weights, , probs] = fusedRoute(
      tensor([
        [1e4, -1e4, 0],
        [-1e4, -1e4, -1e4],
      ]),
      2,
      true,
    )
    expect(probs.isfinite().all().item()).toBe(1)
    expectClose(probs.sum(-1), tensor([1, 1]), 1e-6)
    expect(weights.isfinite().all().item()).toBe(1)
  })

  test('gradients are the derivatives, of weights and probs together', () => {
    const logits = randn([5, 4], { ...f64, seed: 1, requiresGrad: true })
    for (const normalize of [true, false]) {
      gradcheck(() => {
        const [weights, , probs] = fusedRoute(logits, 2, normalize)
        return weights.pow(3).sum().add(probs.square().sum())
      }, [logits])
    }
  })

  test('k outside of its range is refused', () => {
    expect(() => fusedRoute(zeros([2, 3]), 4, true)).toThrow('k must be in 1..3, got 4')
  })
})

test('a layer computes the same with and without kernels, and says so in single precision too', () => {
  manualSeed(1)
  const sizes = { hiddenSize: 32, numExperts: 8 }
  const layer = new MoeLayer(
    new TopKRouter({ ...sizes, topK: 2 }),
    new GatedExperts({ ...sizes, intermediateSize: 48 }),
  )
  const x = randn([100, 32])
  const fast = layer.forward(x).y
  const slow = withKernels([], () => layer.forward(x).y)
  expectClose(fast, slow, 1e-5)
  expect(callOperator('aten::allclose', fast, slow.add(arange(0, 32).mul(1e-3)))).toBe(false) // the comparison can fail
})
