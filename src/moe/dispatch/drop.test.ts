import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectClose } from '../../../tests/support/tensors.ts'
import { openTensors } from '../../models/index.ts'
import { manualSeed, noGrad, randn, type Tensor, tensor, tidy, zeros } from '../../torch/index.ts'
import {
  countPerExpert,
  type DropPolicy,
  dropBeyondCapacity,
  equalStarts,
  type TokenRouting,
  Top2Router,
  TopKRouter,
} from '../index.ts'

/** A top-k routing of given logits. */
function routingOf(logits: Tensor, topK: number, mask: Tensor | null = null): TokenRouting {
  const numExperts = logits.size(1)
  const router = new TopKRouter({ hiddenSize: numExperts, numExperts, topK }).to('f64')
  noGrad(() => router.weight.zero_().diagonal().fill_(1))
  return router.forward(logits.double(), { mask })
}

const policies: DropPolicy[] = ['position', 'probability', 'prioritized', 'random']

describe('the top-2 router of NLLB and fairseq, recorded from an independent implementation', () => {
  const recorded = openTensors(
    join(fileURLToPath(new URL('../../../tests/fixtures/routers', import.meta.url)), 'nllb_top2.safetensors'),
  )
  const settings = [...recorded.keys()].flatMap(name => /^(.+)\.logits$/.exec(name)?.[1] ?? [])

  test('has all eight settings', () => expect(settings.length).toBe(8))

  test.each(settings)('%s', name => {
    const [, before, prioritized, capacity] = /norm(\d)\.bpr(\d)\.cap(\d+)/.exec(name) ?? []
    const of = (part: string): Tensor => recorded.get(`${name}.${part}`) as Tensor
    const chosen = routingOf(of('logits'), 2)
    const { indices, weights } = dropBeyondCapacity(chosen, Number(capacity), {
      policy: prioritized === '1' ? 'prioritized' : 'position',
      renormalize: before === '0', // the fixture's norm0: after dropping, over survivors
    })
    const columns = indices.add(indices.lt(0).mul(7)) // -1 -> 6, a column that is cut off
    const combine = zeros([40, 7], { dtype: 'f64' }).scatter_(1, columns, weights).narrow(1, 0, 6)
    expectClose(combine, of('combine'), 1e-6)
    const first = zeros([40, 7], { dtype: 'f64' })
      .scatter_(1, columns.narrow(1, 0, 1), 1)
      .narrow(1, 0, 6)
    expectClose(first, of('top1_mask'), 0)
  })
})

describe('who stays', () => {
  // Four tokens that all want expert 0 first; how sure they are differs.
  const logits = tensor([
    [1, 0, -9],
    [4, 0, -9],
    [2, 0, -9],
    [3, 0, -9],
  ])
  const firstKept = (policy: DropPolicy): unknown =>
    dropBeyondCapacity(routingOf(logits, 1), 2, { policy }).indices.squeeze(-1).tolist()

  test('by position: the first', () => expect(firstKept('position')).toEqual([0, 0, -1, -1]))
  test('prioritized: the surest', () => expect(firstKept('prioritized')).toEqual([-1, 0, -1, 0]))

  test('by probability: the largest weights, whichever choice they are', () => {
    // Token 0 wants expert 1 second with 0.45, token 1 wants it first with 0.4.
    const routing = { ...routingOf(logits.narrow(0, 0, 2), 2) }
    const indices = tensor([
      [0, 1],
      [1, 0],
    ]).long()
    const weights = tensor([
      [0.55, 0.45],
      [0.4, 0.3],
    ])
    const served = dropBeyondCapacity({ ...routing, indices, weights }, 1, { policy: 'probability' })
    expect(served.indices.tolist()).toEqual([
      [0, 1],
      [-1, -1],
    ])
  })

  test('at random: as many, others under another seed', () => {
    const many = routingOf(zeros([40, 3]), 1) // all want expert 0
    const kept = (seed: number): unknown => {
      manualSeed(seed)
      return dropBeyondCapacity(many, 10, { policy: 'random' }).indices.squeeze(-1).tolist()
    }
    expect(kept(1)).toEqual(kept(1))
    expect(kept(1)).not.toEqual(kept(2))
    expect((kept(1) as number[]).filter(e => e === 0).length).toBe(10)
  })
})

const sizes = fc.record({
  tokens: fc.integer({ min: 0, max: 25 }),
  topK: fc.integer({ min: 1, max: 3 }),
  capacity: fc.integer({ min: 1, max: 8 }),
  seed: fc.nat(1000),
})

test.each(policies)(
  'property: under %s no expert exceeds its capacity, and nothing that fits is dropped',
  policy => {
    fc.assert(
      fc.property(sizes, ({ tokens, topK, capacity, seed }) =>
        tidy(() => {
          const chosen = routingOf(randn([tokens, 4], { seed }), topK)
          const served = dropBeyondCapacity(chosen, capacity, { policy })
          expect(countPerExpert(served)).toEqual(countPerExpert(chosen).map(n => Math.min(n, capacity)))
          expect(served.weights.mul(served.indices.lt(0)).abs().sum().item()).toBe(0)
        }),
      ),
      { numRuns: 30 },
    )
  },
)

test('renormalised weights of a token that kept a slot sum to one, of one that kept none to zero', () => {
  const served = dropBeyondCapacity(routingOf(randn([30, 4], { seed: 1 }), 2), 5, { renormalize: true })
  const sums = served.weights.sum(-1).tolist() as number[]
  const kept = served.indices.ge(0).any(-1).tolist() as number[]
  for (const [i, sum] of sums.entries()) expect(sum).toBeCloseTo(kept[i] ?? 0, 12)
  expect(kept.includes(0)).toBe(true)
})

describe('no token left behind', () => {
  test('a token whose expert is full goes to its next best one with room, weighed by its probability', () => {
    const logits = tensor([
      [3, 2, 1],
      [3, 2, 1],
      [3, 2, 1],
    ])
    const chosen = routingOf(logits, 1)
    const served = (retries: number): TokenRouting => dropBeyondCapacity(chosen, 1, { retries })
    expect(served(0).indices.squeeze(-1).tolist()).toEqual([0, -1, -1])
    expect(served(1).indices.squeeze(-1).tolist()).toEqual([0, 1, -1])
    expect(served(2).indices.squeeze(-1).tolist()).toEqual([0, 1, 2])
    expectClose(served(2).weights.select(0, 2), chosen.probs.select(0, 2).narrow(0, 2, 1), 1e-12)
  })

  test('property: room is left only where no token wants it, and no token has an expert twice', () => {
    fc.assert(
      fc.property(sizes, ({ tokens, topK, capacity, seed }) =>
        tidy(() => {
          const chosen = routingOf(randn([tokens, 4], { seed }), topK)
          const served = dropBeyondCapacity(chosen, capacity, { retries: 4 })
          const counts = countPerExpert(served)
          expect(Math.max(0, ...counts)).toBeLessThanOrEqual(capacity)
          for (const row of served.indices.tolist() as number[][]) {
            const filled = row.filter(e => e >= 0)
            expect(new Set(filled).size).toBe(filled.length)
          }
          const total = counts.reduce((a, b) => a + b, 0)
          if (topK === 1) expect(total).toBe(Math.min(tokens, 4 * capacity))
        }),
      ),
      { numRuns: 30 },
    )
  })

  test('slots that the router left empty stay so', () => {
    const router = new Top2Router({ hiddenSize: 3, numExperts: 3, policy: 'none' }).to('f64')
    const { indices } = dropBeyondCapacity(router.forward(zeros([3, 3], { dtype: 'f64' })), 1, { retries: 3 })
    expect(indices.tolist()).toEqual([
      [0, -1],
      [1, -1],
      [2, -1],
    ])
  })

  test('padding is not brought back', () => {
    const mask = tensor([true, false, true])
    const served = dropBeyondCapacity(routingOf(zeros([3, 3]), 1, mask), 1, { retries: 3 })
    expect(served.indices.squeeze(-1).tolist()).toEqual([0, -1, 1])
  })
})

test('property: groups of tokens compete with their own only, and get what each would get alone', () => {
  const sizes = fc.record({
    groupSize: fc.integer({ min: 1, max: 6 }),
    groups: fc.integer({ min: 1, max: 4 }),
    capacity: fc.integer({ min: 0, max: 4 }),
    policy: fc.constantFrom<DropPolicy>('position', 'probability', 'prioritized'),
    topK: fc.integer({ min: 1, max: 2 }),
  })
  fc.assert(
    fc.property(sizes, ({ groupSize, groups, capacity, policy, topK }) => {
      const logits = randn([groupSize * groups, 3], { dtype: 'f64' })
      const together = dropBeyondCapacity(routingOf(logits, topK), capacity, {
        policy,
        starts: equalStarts(groups, groupSize),
      })
      for (let g = 0; g < groups; g++) {
        const alone = dropBeyondCapacity(
          routingOf(logits.narrow(0, g * groupSize, groupSize), topK),
          capacity,
          { policy },
        )
        expect(together.indices.narrow(0, g * groupSize, groupSize).tolist()).toEqual(alone.indices.tolist())
        expectClose(together.weights.narrow(0, g * groupSize, groupSize), alone.weights, 0)
      }
    }),
    { numRuns: 60 },
  )
})

test('retries within sequences are refused', () =>
  expect(() => dropBeyondCapacity(routingOf(randn([4, 3]), 1), 1, { retries: 1, starts: [0, 2, 4] })).toThrow(
    'dispatch.retries: cannot be tried within sequences',
  ))
