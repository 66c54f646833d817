import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { gradcheck, manualSeed, noGrad, randn, type Tensor, tensor, tidy } from '../../torch/index.ts'
import { expertUsage, PeerLayer, type PeerOptions, referencePeer } from '../index.ts'

const f64 = { dtype: 'f64' } as const

function makeLayer(options: Partial<PeerOptions> = {}): PeerLayer {
  manualSeed(1)
  const sizes = { hiddenSize: 4, numExperts: 25, heads: 3, topK: 2, querySize: 6 }
  const layer = new PeerLayer({ ...sizes, ...options }).to('f64')
  noGrad(() => layer.sub_keys.mul_(50)) // scores of order one
  return layer
}

/** Output and all gradients of a weighted sum of it. */
function outcome(layer: PeerLayer, x: Tensor, compute: () => Tensor): Tensor[] {
  return tidy(() => {
    const leaves = [x, ...layer.parameters()]
    for (const leaf of leaves) leaf.grad = null
    const y = compute()
    y.mul(randn(y.shape, { ...f64, seed: 4 }))
      .sum()
      .backward()
    return [y, ...leaves.map(leaf => leaf.grad?.clone() ?? leaf.mul(0))].map(tensor => tensor.detach())
  })
}

/** f64 sums of a few hundred terms of order one: 1e-9 leaves four digits. */
function expectSameAsReference(layer: PeerLayer, tokens: number, mask: Tensor | null = null): void {
  const x = randn([tokens, layer.query.weight.size(1)], { ...f64, seed: 3, requiresGrad: true })
  const fast = outcome(layer, x, () => layer.forward(x, { mask }).y)
  const slow = outcome(layer, x, () => referencePeer(layer, x, mask))
  for (const [i, tensor] of fast.entries()) expectClose(tensor, slow[i]!, 1e-9)
}

describe('the layer equals the sum over all experts, forward and gradient', () => {
  test.each([
    ['as usual', {}, 12],
    ['with a relu gate', { gate: 'relu' }, 12],
    ['without normalised queries', { queryNorm: false }, 12],
    ['with one head', { heads: 1 }, 5],
    ['with every sub-key', { topK: 5 }, 5],
    ['with one expert', { numExperts: 1, topK: 1 }, 5],
    ['with one token', {}, 1],
    ['with no token', {}, 0],
    ['with relu', { activation: 'relu' }, 6],
  ] as const)('%s', (_, options, tokens) => {
    expectNoLeak(() => {
      using layer = makeLayer(options)
      expectSameAsReference(layer, tokens)
      expectSameAsReference(layer.eval(), tokens)
    })
  })

  test('with padding', () => {
    using layer = makeLayer()
    expectSameAsReference(layer, 4, tensor([true, false, true, true]))
  })

  test('property: for any sizes', () => {
    const sizes = fc
      .record({
        tokens: fc.integer({ min: 0, max: 8 }),
        hiddenSize: fc.integer({ min: 1, max: 6 }),
        perHalf: fc.integer({ min: 1, max: 6 }),
        heads: fc.integer({ min: 1, max: 3 }),
        half: fc.integer({ min: 1, max: 3 }),
      })
      .chain(one => fc.integer({ min: 1, max: one.perHalf }).map(topK => ({ ...one, topK })))
    fc.assert(
      fc.property(sizes, ({ tokens, perHalf, half, ...rest }) =>
        expectNoLeak(() => {
          using layer = makeLayer({ ...rest, numExperts: perHalf ** 2, querySize: 2 * half })
          expectSameAsReference(layer, tokens)
        }),
      ),
      { numRuns: 40 },
    )
  })
})

test.each([true, false])('gradients are the derivatives, training %s', training => {
  using layer = makeLayer({ hiddenSize: 3, numExperts: 9, heads: 2, querySize: 4 }).train(training)
  const x = randn([4, 3], { ...f64, seed: 6, requiresGrad: true })
  gradcheck(() => layer.forward(x).y.square().sum(), [x, ...layer.parameters()])
})

test('with k = 1 each head is one neuron with weight 1: a network of h neurons', () => {
  using layer = makeLayer({ topK: 1, heads: 4 })
  const x = randn([6, 4], { ...f64, seed: 1 })
  const { y, routing } = layer.forward(x)
  expect(routing.weights.eq(1).all().item()).toBe(1)
  for (let t = 0; t < 6; t++) {
    const chosen = routing.indices.select(0, t).reshape([-1]) // [h]
    const up = layer.input_weights.indexSelect(0, chosen) // [h, D]
    const down = layer.output_weights.indexSelect(0, chosen).t() // [D, h]
    const token = x.select(0, t)
    const wanted = down.matmul(up.matmul(token.unsqueeze(-1)).gelu()).squeeze(-1)
    expectClose(y.select(0, t), wanted, 1e-13)
  }
})

test('weights of a head sum to one, and no expert comes twice in it', () => {
  using layer = makeLayer({ topK: 4 })
  const { weights, indices } = layer.forward(randn([9, 4], { ...f64, seed: 1 })).routing
  expectClose(weights.sum(-1), weights.sum(-1).mul(0).add(1), 1e-14)
  for (const row of indices.view([-1, 4]).tolist() as number[][]) {
    expect(new Set(row).size).toBe(4)
    expect(row.every(e => e >= 0 && e < 25)).toBe(true)
  }
})

test('experts that nobody retrieved get no gradient', () => {
  using layer = makeLayer({ numExperts: 49 })
  const { y, routing } = layer.forward(randn([3, 4], { ...f64, seed: 1 }))
  y.square().sum().backward()
  const used = (expertUsage(routing).counts.tolist() as number[]).map(count => count > 0)
  expect(new Set(used)).toEqual(new Set([true, false]))
  for (const table of [layer.input_weights, layer.output_weights]) {
    expect((table.grad!.abs().sum(-1).tolist() as number[]).map(sum => sum > 0)).toEqual(used)
  }
})

test('the layer keeps the shape of its input', () => {
  using layer = makeLayer()
  expect(layer.forward(randn([2, 3, 4], f64)).y.shape).toEqual([2, 3, 4])
})

test('padding comes out as zero, retrieves nothing and changes nothing for the others', () => {
  using layer = makeLayer()
  using alone = makeLayer()
  const mask = tensor([
    [true, true, false],
    [false, true, true],
  ])
  const x = randn([2, 3, 4], { ...f64, seed: 1 })
  const { y, routing } = layer.forward(x.maskedFill(mask.logicalNot().unsqueeze(-1), 1e3), { mask })
  const real = tensor([0n, 1n, 4n, 5n])
  expect(
    y
      .view([6, 4])
      .index([tensor([2n, 3n])])
      .abs()
      .sum()
      .item(),
  ).toBe(0)
  expect(routing.indices.select(0, 2).eq(-1).all().item()).toBe(1)
  expect(routing.weights.select(0, 2).abs().sum().item()).toBe(0)
  const wanted = alone.forward(x.view([6, 4]).index([real]))
  expectClose(y.view([6, 4]).index([real]), wanted.y, 1e-12)
  expect(routing.indices.index([real]).equal(wanted.routing.indices)).toBe(true)
})

test('evaluation depends on the token alone', () => {
  using layer = makeLayer()
  const x = randn([8, 4], { ...f64, seed: 1 })
  layer.forward(x) // gives the query norm some running averages
  layer.eval()
  expectClose(layer.forward(x).y.narrow(0, 2, 3), layer.forward(x.narrow(0, 2, 3)).y, 1e-13)
})

test('scores of half-precision queries are f32', () => {
  using layer = makeLayer().to('bf16')
  const [first] = layer.scores(randn([3, 4], { dtype: 'bf16', seed: 1 }))
  expect(first.dtype).toBe('f32')
})

test('a million experts', () => {
  expectNoLeak(() => {
    using layer = new PeerLayer({ hiddenSize: 4, numExperts: 2 ** 20, querySize: 8 })
    const { y, routing } = layer.forward(randn([3, 4], { seed: 1 }))
    y.sum().backward()
    expect(routing.indices.shape).toEqual([3, 8, 16])
    expect(y.isfinite().all().item()).toBe(1)
    const touched = layer.output_weights.grad!.abs().sum(-1).ne(0).sum().item()
    expect(touched).toBeGreaterThan(0)
    expect(touched).toBeLessThanOrEqual(3 * 8 * 16)
    layer.zeroGrad()
  })
})

test.each([
  [{ numExperts: 1000 }, 'peer.numExperts: must be a square up to 2^20, got 1000; the nearest is 1024'],
  [{ numExperts: 1025 ** 2 }, 'must be a square up to 2^20, got 1050625; the nearest is 1048576'],
  [{ topK: 6 }, 'peer.topK: must be in 1..5 (the sub-keys of each half), got 6'],
  [{ topK: 0 }, 'peer.topK: must be in 1..5'],
  [{ querySize: 5 }, 'peer.querySize: must be even, for its two halves, got 5'],
  [{ heads: 0 }, 'peer.heads: must be a whole number from 1 on, got 0'],
])('%o is refused', (options, message) => {
  expect(() => makeLayer(options)).toThrow(message)
})
