// Routers, capacity, losses and statistics against worked examples.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectClose } from '../../tests/support/tensors.ts'
import { gradcheck, noGrad, randn, type Tensor, tensor, tidy, zeros } from '../torch/index.ts'
import {
  countPerExpert,
  dropBeyondCapacity,
  expertCapacity,
  hfBalanceLoss,
  loadStats,
  routerZLoss,
  routingStats,
  switchBalanceLoss,
  type TokenRouting,
  TopKRouter,
} from './index.ts'

// Router logits with a tie: z[2] has 1 at places 0 and 2.
const z = [
  [2, 1, 0, -1],
  [0, 0, 1, 3],
  [1, 2, 1, 0],
]

/** A router whose logits are its input. */
function identityRouter(
  topK: number,
  options: Partial<ConstructorParameters<typeof TopKRouter>[0]> = {},
): TopKRouter {
  const router = new TopKRouter({ hiddenSize: 4, numExperts: 4, topK, ...options }).to('f64')
  noGrad(() => router.weight.zero_().diagonal().fill_(1))
  return router
}

const route = (topK: number, options = {}): TokenRouting =>
  identityRouter(topK, options).forward(tensor(z, { dtype: 'f64' }))

/** A routing with given choices, for what does not look at probabilities. */
function fixedRouting(choices: number[][], numExperts: number): TokenRouting {
  const indices = tensor(choices).long()
  const even = zeros([choices.length, numExperts], { dtype: 'f64' }).add(1 / numExperts)
  const weights = zeros(indices.shape, { dtype: 'f64' }).add(0.5)
  return { kind: 'token', indices, weights, logits: even, probs: even, mask: null }
}

const rounded = (x: Tensor, digits = 6): unknown =>
  JSON.parse(JSON.stringify(x.tolist(), (_, v) => (typeof v === 'number' ? Number(v.toFixed(digits)) : v)))

describe('TopKRouter', () => {
  test('softmax before and after top-k', () => {
    expect(rounded(route(2, { order: 'topk-softmax' }).weights.select(0, 0))).toEqual([0.731059, 0.268941])
    expect(rounded(route(2, { normalize: false }).weights.select(0, 0))).toEqual([0.643914, 0.236883])
    expect(rounded(route(2).probs.select(0, 0))).toEqual([0.643914, 0.236883, 0.087144, 0.032059])
  })

  test('rescaled shares of all equal shares of the chosen', () => {
    expectClose(route(3).weights, route(3, { order: 'topk-softmax' }).weights, 1e-12)
  })

  test('ties go to the lowest index', () => {
    expect(route(2).indices.tolist()).toEqual([
      [0, 1],
      [3, 2],
      [1, 0],
    ])
    const even = identityRouter(4).forward(zeros([1, 4], { dtype: 'f64' }))
    expect(even.indices.tolist()).toEqual([[0, 1, 2, 3]])
  })

  test('with softmax after top-1 the weight is 1 and the router gets no task gradient', () => {
    const router = identityRouter(1, { order: 'topk-softmax' })
    router
      .forward(tensor(z, { dtype: 'f64' }))
      .weights.sum()
      .backward()
    expect(router.weight.grad?.abs().max().item()).toBe(0)
    const switchRouter = identityRouter(1, { normalize: false })
    switchRouter
      .forward(tensor(z, { dtype: 'f64' }))
      .weights.sum()
      .backward()
    expect(switchRouter.weight.grad?.abs().max().item()).toBeGreaterThan(0.01)
  })

  test('logits and softmax are computed in f32 for half-precision tokens', () => {
    // Ten logits of 128 and one of 128.5: the share of the last is 0.142, and 0.091 once 128.5 is rounded to bf16.
    const router = new TopKRouter({ hiddenSize: 2, numExperts: 11, topK: 1, normalize: false })
    noGrad(() => {
      router.weight.fill_(64)
      router.weight.select(0, 10).fill_(64.25)
    })
    const { weights, logits } = router.forward(tensor([[1, 1]]).to('bf16'))
    expect(logits.dtype).toBe('f32')
    expect(weights.item()).toBeCloseTo(0.1415, 4)
  })

  test.each([0, 5, 1.5])('k = %s is refused', topK => {
    expect(() => new TopKRouter({ hiddenSize: 4, numExperts: 4, topK })).toThrow(
      `router.k: must be in 1..4 (the number of experts), got ${topK}`,
    )
  })

  test('property: weights are positive, sum to one, and indices differ', () => {
    const sizes = fc
      .integer({ min: 1, max: 12 })
      .chain(e => fc.tuple(fc.constant(e), fc.integer({ min: 1, max: e })))
    fc.assert(
      fc.property(sizes, fc.integer({ min: 0, max: 9 }), ([numExperts, topK], tokens) =>
        tidy(() => {
          using router = new TopKRouter({ hiddenSize: 3, numExperts, topK })
          const { weights, indices } = router.forward(randn([tokens, 3], { seed: tokens }))
          for (const row of weights.tolist() as number[][]) {
            expect(row.every(weight => weight > 0)).toBe(true)
            expect(row.reduce((a, b) => a + b)).toBeCloseTo(1, 5)
          }
          for (const row of indices.tolist() as number[][]) expect(new Set(row).size).toBe(topK)
        }),
      ),
    )
  })
})

describe('losses', () => {
  test('Switch balance loss and its gradient', () => {
    expect(switchBalanceLoss(route(1)).item()).toBeCloseTo(1.158512, 6)
    const x = tensor(z, { dtype: 'f64', requiresGrad: true })
    switchBalanceLoss(identityRouter(1).forward(x)).backward()
    expect(rounded(x.grad?.select(0, 0) ?? x)).toEqual([0.024939, 0.009175, -0.035356, 0.001242])
  })

  test('it is 1 at perfect balance for every K, and HF counts K', () => {
    const balanced = fixedRouting(
      [
        [0, 1],
        [2, 3],
        [1, 0],
        [3, 2],
      ],
      4,
    )
    expect(switchBalanceLoss(balanced).item()).toBeCloseTo(1, 12)
    expect(hfBalanceLoss([balanced, balanced]).item()).toBeCloseTo(2, 12)
  })

  test("HF's form over one layer is K times the rescaled form", () => {
    expect(hfBalanceLoss([route(2)]).item()).toBeCloseTo(2 * switchBalanceLoss(route(2)).item(), 12)
  })

  test("HF's form lets opposite imbalances of two layers cancel", () => {
    const left = fixedRouting([[0], [0]], 2)
    const right = fixedRouting([[1], [1]], 2)
    expect(hfBalanceLoss([left, right]).item()).toBeCloseTo(1, 12)
  })

  test('z-loss', () => {
    expect(routerZLoss(route(1)).item()).toBeCloseTo(7.721219, 6)
    const even = { ...route(1), logits: zeros([5, 8], { dtype: 'f64' }) }
    expect(routerZLoss(even).item()).toBeCloseTo(Math.log(8) ** 2, 12) // 4.3241
  })

  test('their gradients are the derivatives', () => {
    const x = randn([5, 4], { dtype: 'f64', seed: 3, requiresGrad: true })
    const router = identityRouter(2)
    gradcheck(() => {
      const routing = router.forward(x)
      return switchBalanceLoss(routing)
        .add(routerZLoss(routing))
        .add(hfBalanceLoss([routing, routing]))
    }, [x])
  })

  test('padding counts nowhere', () => {
    const router = identityRouter(2)
    const rows = tensor([...z, [9, -9, 0, 4]], { dtype: 'f64' })
    const padded = router.forward(rows, { mask: tensor([true, true, true, false]) })
    for (const loss of [switchBalanceLoss, routerZLoss, (r: TokenRouting) => hfBalanceLoss([r, r])]) {
      expect(loss(padded).item()).toBeCloseTo(loss(route(2)).item(), 12)
    }
    expect(routingStats(padded)).toEqual(routingStats(route(2)))
  })
})

describe('capacity', () => {
  test('slots per expert', () => {
    const of = (
      tokens: number,
      numExperts: number,
      topK: number,
      options: Parameters<typeof expertCapacity>[1],
    ) => expertCapacity({ tokens, numExperts, topK }, options)
    expect(of(1024, 16, 1, { factor: 1.25, share: 'tokens' })).toBe(80)
    expect(of(1024, 16, 2, { factor: 1.25 })).toBe(160)
    expect(of(10, 4, 1, { factor: 1.25 })).toBe(4) // ceil(3.125), and the least is 4
    expect(of(3, 1, 1, { factor: 5 })).toBe(3) // never more than there are tokens
    expect(of(100, 10, 1, { factor: 1.1, minimum: 1 })).toBe(11) // 1.1 * 10 is a bit above 11 in binary
    expect(() => of(8, 2, 1, { factor: 0 })).toThrow('dispatch.factor: must be above 0, got 0')
  })

  test('first choices fill the queue before second ones, earlier tokens before later', () => {
    const kept = dropBeyondCapacity(
      fixedRouting(
        [
          [0, 1],
          [0, 1],
          [0, 2],
          [1, 0],
        ],
        3,
      ),
      2,
    )
    expect(kept.indices.tolist()).toEqual([
      [0, 1],
      [0, -1],
      [-1, 2],
      [1, -1],
    ])
    expect(kept.weights.tolist()).toEqual([
      [0.5, 0.5],
      [0.5, 0],
      [0, 0.5],
      [0.5, 0],
    ])
  })

  test('property: no expert exceeds its capacity, and nothing is dropped that would fit', () => {
    const choices = fc.array(fc.shuffledSubarray([0, 1, 2, 3, 4], { minLength: 2, maxLength: 2 }), {
      minLength: 1,
      maxLength: 30,
    })
    fc.assert(
      fc.property(choices, fc.integer({ min: 1, max: 8 }), (rows, capacity) =>
        tidy(() => {
          const routing = fixedRouting(rows, 5)
          const wanted = countPerExpert(routing)
          const served = countPerExpert(dropBeyondCapacity(routing, capacity))
          expect(served).toEqual(wanted.map(count => Math.min(count, capacity)))
        }),
      ),
    )
  })

  test('the share that was dropped is reported', () => {
    const routing = fixedRouting(
      [
        [0, 1],
        [0, 1],
        [0, 2],
        [1, 0],
      ],
      3,
    )
    expect(routingStats(routing, dropBeyondCapacity(routing, 2)).dropped).toBeCloseTo(3 / 8, 12)
  })
})

describe('RoutingStats', () => {
  test('of an even load', () => {
    const { entropy, ...stats } = routingStats(
      fixedRouting(
        [
          [0, 1],
          [2, 3],
        ],
        4,
      ),
    )
    expect(stats).toMatchObject({
      load: [1, 1, 1, 1],
      maxOverMean: 1,
      cv: 0,
      dead: 0,
      dropped: 0,
      topShare: 0.25,
    })
    expect(stats.effectiveExperts).toBeCloseTo(4, 12)
    expect(entropy).toBeCloseTo(Math.log(4), 12)
  })

  test('of a collapsed load', () => {
    expect(loadStats([8, 0, 0, 0])).toMatchObject({
      maxOverMean: 4,
      dead: 3,
      effectiveExperts: 1,
      topShare: 1,
      bottomShare: 0,
    })
    expect(loadStats([8, 0, 0, 0]).cv).toBeCloseTo(Math.sqrt(3), 12)
  })

  test('of no load at all', () => {
    expect(loadStats([0, 0])).toMatchObject({
      maxOverMean: 1,
      cv: 0,
      dead: 2,
      effectiveExperts: 1,
      topShare: 0,
    })
  })
})
