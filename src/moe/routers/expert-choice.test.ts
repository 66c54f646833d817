import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { four, identity } from '../../../tests/support/router-examples.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import { arange, randn, type Tensor, tensor, tidy, zeros } from '../../torch/index.ts'
import { capped, countPerExpert, ExpertChoiceRouter, GatedExperts, MoeLayer, routingStats } from '../index.ts'

describe('expert choice', () => {
  const make = (options = {}): ExpertChoiceRouter =>
    identity(new ExpertChoiceRouter({ ...four, capacity: 2, ...options }))
  const x = randn([10, 4], { dtype: 'f64', seed: 1 })

  test('statistics: loads are even, and what no expert took counts as dropped, padding aside', () => {
    const mask = tensor([...new Array(8).fill(true), false, false])
    const { routing } = new MoeLayer(
      make({ capacity: 1 }),
      new GatedExperts({ ...four, intermediateSize: 3 }).to('f64'),
    ).forward(x, { mask })
    const taken = new Set((routing.tokens.tolist() as number[][]).flat())
    const { load, maxOverMean, dropped } = routingStats(routing)
    expect({ load, maxOverMean }).toEqual({ load: [2, 2, 2, 2], maxOverMean: 1 })
    expect(taken.size).toBeLessThan(8)
    expect(dropped).toBeCloseTo(1 - taken.size / 8, 12)
  })

  test('every expert takes its share, the tokens that score it highest', () => {
    const { tokens, weights, probs } = make().forward(x)
    expect(tokens.shape).toEqual([4, 5])
    expectClose(weights, probs.t().topk(5, -1)[0], 1e-12)
  })

  test('the layer is the weighted sum over the experts that chose a token, the others pass', () => {
    const layer = new MoeLayer(
      make({ capacity: 0.5 }),
      new GatedExperts({ ...four, intermediateSize: 3 }).to('f64'),
    )
    const { y, routing } = layer.forward(x)
    const wanted = zeros([10, 4], { dtype: 'f64' })
    for (const [e, row] of (routing.tokens.tolist() as number[][]).entries()) {
      for (const [c, t] of row.entries()) {
        const out = layer.experts.expert(e, x.narrow(0, t, 1)).squeeze(0)
        wanted.select(0, t).add_(out.mul(routing.weights.select(0, e).select(0, c)))
      }
    }
    expectClose(y, wanted, 1e-12)
    expect(y.abs().sum(-1).eq(0).any().item()).toBe(1)
  })

  test('a later token changes what earlier ones get: it is no router for a decoder', () => {
    const router = make()
    expect(router.isCausal).toBe(false)
    const other = x.clone()
    other.select(0, 9).mul_(100)
    const chose = (input: Tensor): unknown => router.forward(input).tokens.lt(9).tolist()
    expect(chose(other)).not.toEqual(chose(x))
  })

  test('padding is chosen by nobody', () => {
    const mask = tensor(Array.from({ length: 10 }, (_, t) => t < 3))
    const { tokens, weights } = make({ capacity: 4 }).forward(x, { mask })
    expect(tokens.ge(3).any().item()).toBe(0)
    expect(countPerExpert(make({ capacity: 4 }).forward(x, { mask }))).toEqual([3, 3, 3, 3])
    // The share is of real tokens, and capped or not, padding takes no room.
    expect(countPerExpert(make({ capacity: 2 }).forward(x, { mask }))).toEqual([2, 2, 2, 2])
    const cappedAlone = make({ capacity: 1, maxExperts: 2 }).forward(x.narrow(0, 0, 3))
    const cappedPadded = make({ capacity: 1, maxExperts: 2 }).forward(x, { mask })
    expect(cappedPadded.tokens.tolist()).toEqual(cappedAlone.tokens.tolist())
    expect(weights.mul(tokens.lt(0)).abs().sum().item()).toBe(0)
  })

  test('property: capped, no token has more experts than the cap, no expert more tokens than its share', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 14 }),
        fc.integer({ min: 1, max: 3 }),
        fc.nat(100),
        (tokens, most, seed) =>
          tidy(() => {
            const share = Math.ceil(tokens / 4)
            const plan = capped(randn([tokens, 4], { dtype: 'f64', seed }), share, most)
            expect(plan.sum(1).max().item()).toBeLessThanOrEqual(most)
            expect(plan.sum(0).max().item()).toBeLessThanOrEqual(share)
            if (tokens % 4 === 0) expect(plan.sum().item()).toBe(4 * share)
          }),
      ),
      { numRuns: 30 },
    )
  })

  test('capped, tokens that everybody wants are shared out', () => {
    const wanted = zeros([8, 4], { dtype: 'f64' })
    wanted.narrow(0, 0, 2).fill_(0.5) // all the same after the softmax, so add a preference
    wanted.select(1, 0).add_(arange(8).double().mul(-0.01))
    const { tokens } = make({ capacity: 1, maxExperts: 1 }).forward(wanted)
    const all = (tokens.tolist() as number[][]).flat()
    expect(new Set(all).size).toBe(8)
  })

  test.each([
    [{ capacity: 0 }, 'router.capacity: must be above 0'],
    [{ capacity: 5 }, 'router.capacity: must be above 0 and at most 4'],
    [{ maxExperts: 1 }, 'router.maxExperts: must be a whole number of at least the capacity 2, got 1'],
  ])('%o is refused', (options, message) => expect(() => make(options)).toThrow(message))
})
