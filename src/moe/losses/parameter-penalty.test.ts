import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { gradcheck, manualSeed, randn, type Tensor, tensor } from '../../torch/index.ts'
import {
  chosenWidths,
  HeterogeneousExperts,
  parameterPenalty,
  switchBalanceLoss,
  type TokenRouting,
  TopKRouter,
} from '../index.ts'

function route(tokens: number, numExperts: number, topK: number, mask: Tensor | null = null): TokenRouting {
  manualSeed(1)
  using router = new TopKRouter({ hiddenSize: 5, numExperts, topK }).to('f64')
  return router.forward(randn([tokens, 5], { dtype: 'f64', seed: 2 }), { mask })
}

/** The formula read literally, token by token. */
function literally({ indices, probs, mask }: TokenRouting, widths: readonly number[]): number {
  const chosen = indices.tolist() as number[][]
  const p = probs.tolist() as number[][]
  const real = mask === null ? chosen.map(() => true) : (mask.tolist() as number[]).map(Boolean)
  const tokens = real.filter(Boolean).length
  const meanWidth = widths.reduce((a, b) => a + b) / widths.length
  let sum = 0
  for (const [i, width] of widths.entries()) {
    const M = chosen.filter((row, t) => real[t] && row.includes(i)).length * (width / meanWidth / tokens)
    const P = p.reduce((total, row, t) => total + (real[t] ? (row[i] ?? 0) : 0), 0) / tokens
    sum += M * P
  }
  return widths.length * sum
}

describe('the parameter penalty', () => {
  const widths = [2, 4, 6, 12]

  test('is N sum M P, with and without padding', () => {
    const whole = route(9, 4, 2)
    expect(parameterPenalty(whole, widths).item()).toBeCloseTo(literally(whole, widths), 14)
    const padded = route(9, 4, 2, tensor([true, false, true, true, false, true, true, true, false]))
    expect(parameterPenalty(padded, widths).item()).toBeCloseTo(literally(padded, widths), 14)
  })

  test('property: of equal widths it is K times the balance loss, in any unit', () => {
    const sizes = fc
      .integer({ min: 1, max: 6 })
      .chain(e => fc.tuple(fc.integer({ min: 1, max: 12 }), fc.constant(e), fc.integer({ min: 1, max: e })))
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 9999 }), ([tokens, numExperts, topK], width) =>
        expectNoLeak(() => {
          const routing = route(tokens, numExperts, topK)
          const equal = Array.from({ length: numExperts }, () => width)
          // Both sum E terms of at most K E in f64, in another order.
          const tolerance = 1e-15 * topK * numExperts ** 2
          expectClose(parameterPenalty(routing, equal), switchBalanceLoss(routing).mul(topK), tolerance)
        }),
      ),
      { numRuns: 30 },
    )
  })

  test('does not change with the unit of the widths', () => {
    const routing = route(9, 4, 2)
    expectClose(
      parameterPenalty(routing, widths),
      parameterPenalty(
        routing,
        widths.map(width => 1000 * width),
      ),
      1e-14,
    )
  })

  test('pushes the probability of wide experts down', () => {
    const probs = tensor([[0.25, 0.25, 0.25, 0.25]], { dtype: 'f64', requiresGrad: true })
    const indices = tensor([[0n, 1n, 2n, 3n]])
    parameterPenalty(
      { kind: 'token', indices, weights: probs, logits: probs, probs, mask: null },
      widths,
    ).backward()
    // dL/dp_i = N M_i = 4 width_i / 6: all four experts are chosen by the one token.
    expectClose(probs.grad!, tensor([[8 / 6, 16 / 6, 4, 8]], { dtype: 'f64' }), 1e-14)
  })

  test('its gradient is the derivative with the choice held fixed', () => {
    const { indices, weights } = route(6, 4, 2)
    const logits = randn([6, 4], { dtype: 'f64', seed: 3, requiresGrad: true })
    gradcheck(() => {
      const probs = logits.softmax(-1)
      return parameterPenalty({ kind: 'token', indices, weights, logits, probs, mask: null }, widths)
    }, [logits])
  })

  test('of no tokens, or of padding alone, is zero', () => {
    expect(parameterPenalty(route(0, 4, 2), widths).item()).toBe(0)
    expect(parameterPenalty(route(2, 4, 2, tensor([false, false])), widths).item()).toBe(0)
  })

  test('refuses widths that are not one positive number for each expert', () => {
    const routing = route(3, 4, 2)
    expect(() => parameterPenalty(routing, [1, 2])).toThrow(
      'widths: there are 2 widths for 4 experts; give one for each',
    )
    expect(() => chosenWidths(routing, [1, 2, 0, 4])).toThrow('widths.2: must be above 0, got 0')
  })
})

describe('chosen widths', () => {
  test('count the active parameters of each token', () => {
    using experts = new HeterogeneousExperts({
      hiddenSize: 5,
      experts: [2, 4, 6, 12].map(intermediateSize => ({ intermediateSize })),
    })
    const routing = route(7, 4, 2, tensor([true, true, true, false, true, true, true]))
    const active = chosenWidths(routing, experts.sizes).tolist() as number[]
    for (const [t, row] of (routing.indices.tolist() as number[][]).entries()) {
      const chosen = row.filter(e => e >= 0)
      expect(chosen.length).toBe(t === 3 ? 0 : 2)
      expect(active[t]).toBe(chosen.reduce((sum, e) => sum + (experts[e]?.numParameters ?? 0), 0))
    }
  })

  test('add up, over tokens, to the weighted load that the penalty sees', () => {
    const widths = [2, 4, 6, 12]
    const routing = route(8, 4, 2)
    const uniform = { ...routing, probs: routing.probs.mul(0).add(1 / 4) }
    // With P_i = 1/N the penalty is sum_i M_i = mean over tokens of their widths, over the mean width.
    expectClose(parameterPenalty(uniform, widths), chosenWidths(routing, widths).mean().div(6), 1e-14)
  })
})
