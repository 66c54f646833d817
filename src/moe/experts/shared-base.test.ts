import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  anyCase,
  edgeCases,
  expectGradients,
  expectSameAsLoop,
  mixture,
  routingOf,
} from '../../../tests/support/experts.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import { fill, normal } from '../../nn/index.ts'
import { manualSeed, ones, randint, randn, type Tensor, tensor } from '../../torch/index.ts'
import {
  mixGrouped,
  SharedBaseExperts,
  type SharedBaseExpertsOptions,
  type TokenRouting,
  writeOutExperts,
} from '../index.ts'

const projections = ['gate_proj', 'up_proj', 'down_proj'] as const

/** Experts as after some training: B is no longer zero. */
function makeExperts(options: Partial<SharedBaseExpertsOptions> = {}): SharedBaseExperts {
  const experts = newExperts(options)
  for (const name of projections) fill(experts[name].b, normal(0.5))
  return experts
}

function newExperts(options: Partial<SharedBaseExpertsOptions>): SharedBaseExperts {
  manualSeed(1)
  return new SharedBaseExperts({ numExperts: 3, hiddenSize: 4, intermediateSize: 5, rank: 2, ...options }).to(
    'f64',
  )
}

/** The experts by the way that all have: rows grouped by expert, the base product once per row. */
function grouped(experts: SharedBaseExperts): SharedBaseExperts {
  const mix = (x: Tensor, routing: TokenRouting): Tensor => mixGrouped(x, routing, experts)
  return Object.defineProperty(experts, 'mix', { value: mix })
}

test.each(edgeCases)('they equal the loop over experts with %s', (_, { hidden, ...sizes }) => {
  using experts = makeExperts({ numExperts: sizes.numExperts, hiddenSize: hidden })
  expectSameAsLoop(experts, { hidden, ...sizes })
  expectSameAsLoop(grouped(experts), { hidden, ...sizes })
})

test('property: for any sizes and ranks', () => {
  fc.assert(
    fc.property(anyCase, fc.integer({ min: 0, max: 4 }), (sizes, rank) => {
      using experts = makeExperts({ numExperts: sizes.numExperts, hiddenSize: sizes.hidden, rank })
      expectSameAsLoop(experts, sizes)
    }),
    { numRuns: 40 },
  )
})

test('gradients are the derivatives', () => {
  using experts = makeExperts({ hiddenSize: 3, intermediateSize: 2 })
  expectGradients(experts, { tokens: 4, hidden: 3, numExperts: 3, topK: 2 })
})

test('the shared product sees every token once, however many experts it has', () => {
  using experts = makeExperts()
  const rows = projections.map(name => {
    const seen: number[] = []
    const shared = experts[name].shared.bind(experts[name])
    Object.defineProperty(experts[name], 'shared', {
      value: (x: Tensor) => {
        seen.push(x.size(0))
        return shared(x)
      },
    })
    return seen
  })
  experts.mix(ones([6, 4], { dtype: 'f64' }), routingOf(randint(0, 3, [6, 3]), ones([6, 3]), 3))
  expect(rows).toEqual([[6], [6], [6]])
})

describe('all experts are one', () => {
  const x = randn([5, 4], { dtype: 'f64', seed: 1 })

  test.each([
    ['with rank 0', { rank: 0 }],
    ['at the start, when B is zero', { rank: 3 }],
  ])('%s', (_, options) => {
    using experts = newExperts(options)
    for (const e of [1, 2]) expect(experts.expert(e, x).equal(experts.expert(0, x))).toBe(true)
  })

  test('but A differs from the start, so that B learns apart', () => {
    using experts = newExperts({})
    const routing = routingOf(tensor([[0n], [1n]]), ones([2, 1], { dtype: 'f64' }), 3)
    experts
      .mix(ones([2, 4], { dtype: 'f64' }), routing)
      .sum()
      .backward()
    const gradient = experts.gate_proj.b.grad!
    expect(gradient.select(0, 0).sub(gradient.select(0, 1)).abs().max().item()).toBeGreaterThan(1e-6)
  })
})

test.each([0, 1, 3])('with rank %i there are 3 (D F + E r (D + F)) parameters', rank => {
  using experts = newExperts({ numExperts: 7, hiddenSize: 10, intermediateSize: 6, rank })
  expect(experts.numParameters).toBe(3 * (10 * 6 + 7 * rank * (10 + 6)))
})

describe('written out', () => {
  test('they are the same experts, kernel included', () => {
    using experts = makeExperts()
    using whole = writeOutExperts(experts)
    const x = randn([9, 4], { dtype: 'f64', seed: 1 })
    const routing = routingOf(
      randint(-1, 3, [9, 2], { seed: 2 }),
      randn([9, 2], { dtype: 'f64', seed: 3 }),
      3,
    )
    expectClose(mixture(whole, x, routing), mixture(experts, x, routing), 1e-13)
  })

  test('their gradients add up, over experts, to that of the shared matrix', () => {
    using experts = makeExperts()
    using whole = writeOutExperts(experts)
    const x = randn([9, 4], { dtype: 'f64', seed: 1 })
    const routing = routingOf(randint(0, 3, [9, 2], { seed: 2 }), randn([9, 2], { dtype: 'f64', seed: 3 }), 3)
    for (const each of [experts, whole]) mixture(each, x, routing).square().sum().backward()
    const [gate, up] = whole.gate_up_proj.grad!.sum(0).chunk(2, 0) as [Tensor, Tensor]
    // Sums of at most 18 rows of values of order ten.
    expectClose(experts.gate_proj.weight.grad!, gate, 1e-12)
    expectClose(experts.up_proj.weight.grad!, up, 1e-12)
    expectClose(experts.down_proj.weight.grad!, whole.down_proj.grad!.sum(0), 1e-12)
  })
})

test('experts that no token chose get no gradient of their own', () => {
  using experts = makeExperts()
  const routing = routingOf(tensor([[2n], [0n]]), ones([2, 1], { dtype: 'f64' }), 3)
  experts
    .mix(randn([2, 4], { dtype: 'f64', seed: 1 }), routing)
    .square()
    .sum()
    .backward()
  for (const name of projections) {
    for (const part of [experts[name].a, experts[name].b]) {
      const perExpert = part.grad!.abs().sum([1, 2]).tolist() as number[]
      expect(perExpert.map(sum => sum > 0)).toEqual([true, false, true])
    }
  }
})

test.each([-1, 1.5])('a rank of %s is refused', rank => {
  expect(() => newExperts({ rank })).toThrow(`experts.rank: must be a whole number from 0 on, got ${rank}`)
})
