// What every router by which tokens choose must do, whatever its rule.
// Shapes: T tokens, D model, E experts, K slots per token.
import { expect, test } from 'vitest'
import {
  countPerExpert,
  type Dispatch,
  dropless,
  GatedExperts,
  MoeLayer,
  type Router,
  referenceDispatch,
  type TokenContext,
  type TokenRouting,
} from '../../src/moe/index.ts'
import type { Module } from '../../src/nn/index.ts'
import {
  gradcheck,
  manualSeed,
  noGrad,
  onesLike,
  randint,
  randn,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from '../../src/torch/index.ts'
import { expectClose, expectNoLeak } from './tensors.ts'

type TokenRouter = Module & Router

export interface RouterCase {
  /** A router of tokens of width 6. */
  make: (numExperts: number) => TokenRouter
  /** What a real token's weights sum to. */
  sum: 'one' | 'at most one' | 'number of slots' | 'any'
  /** Fewest experts it works with. Default 1. */
  fewest?: number
  /** Whether anything in it learns from the task through the weights. Default true. */
  learns?: boolean
  /** Whether a token alone is routed as among others, in evaluation. Default true. */
  perToken?: boolean
}

const width = 6

export function runRouterTests({ make, sum, fewest = 1, learns = true, perToken = true }: RouterCase): void {
  const fresh = (numExperts = 4, seed = 1): TokenRouter => {
    manualSeed(seed)
    const router = make(numExperts).to('f64')
    // Larger weights than at the start, so that tokens differ; noise and centres stay as they are.
    noGrad(() => {
      for (const [name, parameter] of router.namedParameters()) {
        if (/weight$|phi$/.test(name) && parameter.ndim === 2)
          parameter.copy_(randn(parameter.shape, { dtype: 'f64', seed: 7 }))
      }
    })
    return router
  }
  const tokens = (count: number, seed = 2): Tensor => randn([count, width], { dtype: 'f64', seed })
  const contextOf = (count: number, mask: Tensor | null = null): TokenContext => ({
    mask,
    ids: randint(0, 20, [count], { seed: 3 }),
    tasks: randint(0, 3, [count], { seed: 4 }),
    starts: [0, count],
  })
  const route = (router: TokenRouter, x: Tensor, mask: Tensor | null = null): TokenRouting =>
    router.forward(x, contextOf(x.size(0), mask))

  const layerOf = (router: TokenRouter): MoeLayer<TokenRouter, GatedExperts> => {
    manualSeed(5)
    const experts = new GatedExperts({
      numExperts: router.numExperts,
      hiddenSize: width,
      intermediateSize: 5,
    })
    return new MoeLayer<TokenRouter, GatedExperts>(router, experts.to('f64'))
  }

  test('weights are finite, not negative, and sum as documented', () => {
    for (const mode of [fresh().train(), fresh().eval()]) {
      const { weights, indices, probs } = route(mode as TokenRouter, tokens(11))
      expect(weights.isfinite().all().item()).toBe(1)
      expect(weights.ge(0).all().item()).toBe(1)
      expectClose(probs.sum(-1), onesLike(probs.sum(-1)), 1e-9)
      const sums = weights.sum(-1).tolist() as number[]
      const filled = indices.ge(0).sum(-1).tolist() as number[]
      for (const [t, total] of sums.entries()) {
        if (sum === 'one') expect(total).toBeCloseTo(filled[t] === 0 ? 0 : 1, 8)
        if (sum === 'at most one') expect(total).toBeLessThanOrEqual(1 + 1e-9)
        if (sum === 'number of slots') expect(total).toBeCloseTo(filled[t] ?? 0, 8)
      }
    }
  })

  test('indices name experts, none twice for one token', () => {
    const { indices, probs } = route(fresh(), tokens(15))
    expect(probs.shape).toEqual([15, 4])
    for (const row of indices.tolist() as number[][]) {
      const filled = row.filter(e => e >= 0)
      expect(new Set(filled).size).toBe(filled.length)
      for (const e of filled) expect(e).toBeLessThan(4)
    }
  })

  test('the layer equals the loop over experts, forward and gradient', () => {
    expectNoLeak(() => {
      using router = fresh().eval() as TokenRouter
      using layer = layerOf(router)
      const run = (dispatch: Dispatch): Tensor[] => {
        layer.dispatch = dispatch
        layer.zeroGrad()
        const x = tokens(9).requiresGrad_()
        const context = contextOf(9)
        const { y } = layer.forward(x, { ids: context.ids ?? null, tasks: context.tasks ?? null })
        y.mul(tokens(9, 8)).sum().backward()
        return [y, ...[x, ...layer.parameters()].map(leaf => leaf.grad ?? zeros([1], { dtype: 'f64' }))]
      }
      const fast = run(dropless)
      for (const [i, slow] of run(referenceDispatch).entries()) expectClose(fast[i] ?? slow.neg(), slow, 1e-9)
    })
  })

  if (learns) {
    test('the gradient of weights and probabilities is the derivative, the choice held', () => {
      const router = fresh().eval() as TokenRouter
      const x = tokens(3).requiresGrad_()
      const { weights, probs } = route(router, x)
      const [a, b] = [
        randn(weights.shape, { dtype: 'f64', seed: 9 }),
        randn(probs.shape, { dtype: 'f64', seed: 10 }),
      ]
      const trained = [...router.parameters()].filter(parameter => parameter.requiresGrad)
      gradcheck(() => {
        const routing = route(router, x)
        return routing.weights.mul(a).sum().add(routing.probs.mul(b).sum())
      }, [x, ...trained])
    })

    test('the task reaches the router', () => {
      const router = fresh().eval() as TokenRouter
      const { weights } = route(router, tokens(9))
      weights
        .mul(randn(weights.shape, { dtype: 'f64', seed: 9 }))
        .sum()
        .backward()
      const reached = router.parameters().some(parameter => (parameter.grad?.abs().sum().item() ?? 0) > 0)
      expect(reached).toBe(true)
    })
  }

  test('an expert that nobody chose gets no gradient', () => {
    using layer = layerOf(fresh().eval() as TokenRouter)
    const context = contextOf(2)
    const { y, served } = layer.forward(tokens(2), { ids: context.ids ?? null, tasks: context.tasks ?? null })
    y.sum().backward()
    const gradient = layer.experts.down_proj.grad?.abs().sum([1, 2])
    for (const [e, count] of countPerExpert(served).entries()) {
      const received = gradient?.select(0, e).item()
      if (count === 0) expect(received).toBe(0)
      else expect(received).toBeGreaterThan(0)
    }
  })

  test('padding is neither routed nor counted', () => {
    for (const mode of ['train', 'eval'] as const) {
      const router = fresh()[mode]() as TokenRouter
      const mask = tensor([true, false, true, true, false])
      const { indices, weights } = route(router, tokens(5), mask)
      for (const t of [1, 4]) {
        expect((indices.select(0, t).tolist() as number[]).every(e => e === -1)).toBe(true)
        expect(weights.select(0, t).abs().sum().item()).toBe(0)
      }
    }
  })

  test('real tokens are routed as if the padding between them were not there', () => {
    for (const mode of ['train', 'eval'] as const) {
      const router = fresh()[mode]() as TokenRouter
      const x = tokens(9)
      const seeded = (seed: number): unknown => {
        manualSeed(seed)
        const { indices, weights } = route(router, x)
        return [indices.tolist(), weights.tolist()]
      }
      if (JSON.stringify(seeded(1)) !== JSON.stringify(seeded(2))) continue // its noise is of other tokens
      const isReal = [false, true, true, false, false, true, true, false, true]
      const places = tensor([1n, 2n, 5n, 6n, 8n])
      const mask = tensor(isReal)
      const padding = mask.logicalNot().unsqueeze(-1).double()
      const padded = route(router, x.add(x.mul(padding), 50), mask) // padding is loud
      const { ids, tasks } = contextOf(9)
      const alone = router.forward(x.indexSelect(0, places), {
        ids: ids?.indexSelect(0, places) ?? null,
        tasks: tasks?.indexSelect(0, places) ?? null,
        starts: [0, 5],
      })
      expect(padded.indices.indexSelect(0, places).tolist()).toEqual(alone.indices.tolist())
      expectClose(padded.weights.indexSelect(0, places), alone.weights, 1e-12)
      expect(Object.keys(padded.losses ?? {})).toEqual(Object.keys(alone.losses ?? {}))
      for (const [name, loss] of Object.entries(padded.losses ?? {}))
        expect(loss.item()).toBeCloseTo(alone.losses?.[name]?.item() ?? Number.NaN, 9)
    }
  })

  test('all padding, and no token at all', () => {
    const router = fresh().train() as TokenRouter
    const nothing = route(router, tokens(3), tensor([false, false, false]))
    expect(countPerExpert(nothing)).toEqual([0, 0, 0, 0])
    for (const loss of Object.values(nothing.losses ?? {})) expect(Number.isFinite(loss.item())).toBe(true)
    const empty = route(router, tokens(0))
    expect(empty.indices.size(0)).toBe(0)
    expect(empty.weights.size(0)).toBe(0)
    router.adapt?.()
  })

  test('the same seed gives the same routing, and evaluation has no randomness', () => {
    const drawn = (): unknown => {
      const router = fresh().train() as TokenRouter
      manualSeed(11)
      return route(router, tokens(12)).indices.tolist()
    }
    expect(drawn()).toEqual(drawn())
    const router = fresh().eval() as TokenRouter
    expect(route(router, tokens(12)).weights.tolist()).toEqual(route(router, tokens(12)).weights.tolist())
  })

  test('half-precision tokens are routed in f32', () => {
    manualSeed(1)
    const router = make(4).eval() as TokenRouter
    const { logits, weights } = router.forward(tokens(5).to('bf16'), contextOf(5))
    if (learns) expect(logits.dtype).toBe('f32')
    expect(weights.isfinite().all().item()).toBe(1)
  })

  test('the fewest experts there can be', () => {
    const { indices, weights } = route(fresh(fewest).eval() as TokenRouter, tokens(4))
    expect(indices.lt(fewest).all().item()).toBe(1)
    expect(weights.isfinite().all().item()).toBe(1)
  })

  test('whether it looks at later tokens is as it says', () => {
    const router = fresh().eval() as TokenRouter
    const [one, other] = [tokens(8), tokens(8)]
    other.narrow(0, 5, 3).copy_(tokens(3, 99).mul(50))
    const [a, b] = [route(router, one), route(router, other)]
    const same = a.weights.narrow(0, 0, 5).allclose(b.weights.narrow(0, 0, 5))
    expect(same).toBe(router.isCausal)
  })

  if (perToken) {
    test('a token alone is routed as among others', () => {
      const router = fresh().eval() as TokenRouter
      const all = route(router, tokens(6))
      const { ids, tasks } = contextOf(6)
      const alone = router.forward(tokens(6).narrow(0, 3, 1), {
        ids: ids?.narrow(0, 3, 1) ?? null,
        tasks: tasks?.narrow(0, 3, 1) ?? null,
      })
      expect(alone.indices.tolist()).toEqual(all.indices.narrow(0, 3, 1).tolist())
      expectClose(alone.weights, all.weights.narrow(0, 3, 1), 1e-12)
    })
  }

  test('a state dict carries everything that routing depends on', () => {
    const router = fresh().train() as TokenRouter
    for (let i = 0; i < 3; i++) tidy(() => route(router, tokens(20, i)))
    router.adapt?.()
    const other = fresh(4, 2)
    other.loadStateDict(router.stateDict())
    const wanted = route(router.eval() as TokenRouter, tokens(10))
    const actual = route(other.eval() as TokenRouter, tokens(10))
    expect(actual.indices.tolist()).toEqual(wanted.indices.tolist())
    expectClose(actual.weights, wanted.weights, 0)
  })

  test('training on it leaks nothing', () => {
    const router = fresh().train() as TokenRouter
    const step = (): void => tidy(() => void route(router, tokens(6)))
    step()
    router.adapt?.()
    expectNoLeak(() => {
      step()
      router.adapt?.()
    })
  })
}
