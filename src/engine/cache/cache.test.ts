// Policies, each by what it promises, and all by what any cache must do.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { uniformSource } from '../../models/index.ts'
import { makePools, type PoolPlan, planPools } from '../simulate/pools.ts'
import { beladyOf, replay } from '../simulate/replay.ts'
import { countUses, emptySlot, type RoutingChoices, type Step, stepsOf } from '../trace/choices.ts'
import type { CachePolicy, ExpertGrid } from './policy.ts'
import { ExpertPool } from './pool.ts'
import { createPolicy, defaultPolicy, policyNames, policySchema } from './table.ts'

/** Recordings of small models: some slots empty, some experts chosen twice. */
const recordings = fc
  .record({
    layers: fc.integer({ min: 1, max: 4 }),
    experts: fc.integer({ min: 1, max: 12 }),
    topK: fc.integer({ min: 1, max: 3 }),
    tokens: fc.integer({ min: 1, max: 60 }),
  })
  .chain(({ tokens, ...sizes }) => {
    const slots = tokens * sizes.layers * sizes.topK
    const slot = fc.oneof(
      { weight: 9, arbitrary: fc.nat(sizes.experts - 1) },
      { weight: 1, arbitrary: fc.constant(emptySlot) },
    )
    return fc
      .record({
        chosen: fc.array(slot, { minLength: slots, maxLength: slots }),
        textLength: fc.integer({ min: 1, max: tokens }),
      })
      .map(
        ({ chosen, textLength }): RoutingChoices => ({
          ...sizes,
          ids: Uint32Array.from({ length: tokens }, (_, t) => t),
          positions: Uint32Array.from({ length: tokens }, (_, t) => t % textLength),
          chosen: Uint16Array.from(chosen),
        }),
      )
  })

const plans = fc.record({
  kind: fc.constantFrom('layer', 'global' as const),
  share: fc.double({ min: 0.01, max: 1, noNaN: true }),
})

function policyNamed(
  name: (typeof policyNames)[number],
  grid: ExpertGrid,
  steps: readonly Step[],
): CachePolicy {
  const counts = name === 'static' ? { counts: countUses(grid, steps) } : {}
  return createPolicy(policySchema.parse({ kind: name, ...counts }), grid)
}

const hitsOf = (steps: readonly Step[], grid: ExpertGrid, plan: PoolPlan, policy: CachePolicy): number =>
  replay(steps, grid, plan, policy).hits

describe('any policy', () => {
  test('residents never exceed the capacity, and what a step needs is there after it', () =>
    fc.assert(
      fc.property(recordings, plans, fc.constantFrom(...policyNames), (choices, { kind, share }, name) => {
        const steps = stepsOf(choices)
        const plan = planPools(kind, share, choices)
        const pools = makePools(plan, choices.layers, policyNamed(name, choices, steps))
        for (const { needed, now, layer } of steps) {
          const pool = pools[layer] as ExpertPool
          for (const expert of needed)
            if (pool.has(expert)) pool.use(expert, now)
            else pool.admit(expert, now, new Set(needed))
          expect(pool.residents.size).toBeLessThanOrEqual(plan.capacity)
          expect(needed.every(expert => pool.has(expert))).toBe(true)
        }
      }),
    ))

  test("has no more hits than Belady's", () =>
    fc.assert(
      fc.property(recordings, plans, (choices, { kind, share }) => {
        const steps = stepsOf(choices)
        const plan = planPools(kind, share, choices)
        const best = hitsOf(steps, choices, plan, beladyOf(steps))
        for (const name of policyNames)
          expect(hitsOf(steps, choices, plan, policyNamed(name, choices, steps))).toBeLessThanOrEqual(best)
      }),
    ))

  test('hits all that was there before when everything fits', () =>
    fc.assert(
      fc.property(recordings, fc.constantFrom(...policyNames), (choices, name) => {
        const steps = stepsOf(choices)
        const everything = planPools('layer', 1, choices)
        const { hits, uses } = replay(steps, choices, everything, policyNamed(name, choices, steps))
        expect(uses - hits).toBe(new Set(steps.flatMap(step => step.needed)).size)
      }),
    ))

  // Choices know nothing of residents, so that a use hits with probability C/E. A step's hits have a variance of at most
  // K/4: five deviations of T steps. While places fill, hits lack j/E for each free place j, over 1/(1 - C/E) uses.
  test.each(policyNames)('%s hits capacity / experts of uniform choices', name => {
    const [experts, topK, tokens, capacity] = [32, 4, 4000, 12]
    const choices = uniformChoices({ layers: 1, experts, topK }, tokens)
    const steps = stepsOf(choices)
    // The recording's own counts are knowledge of the future: static goes by those of another.
    const policy = policyNamed(name, choices, stepsOf(uniformChoices(choices, tokens, 2)))
    const { hits, uses } = replay(steps, choices, { kind: 'layer', capacity }, policy)
    const deviations = 5 / (2 * Math.sqrt(uses))
    const filling = (capacity * (capacity + 1)) / (2 * (experts - capacity)) / uses
    expect(Math.abs(hits / uses - capacity / experts)).toBeLessThan(deviations + filling)
  })
})

function uniformChoices(
  { layers, experts, topK }: ExpertGrid & { topK: number },
  tokens: number,
  seed = 1,
): RoutingChoices {
  const uniform = uniformSource(seed)
  /** The first K of a shuffle. */
  const draw = (): number[] => {
    const order = Array.from({ length: experts }, (_, e) => e)
    return Array.from({ length: topK }, (_, k) => {
      const at = k + Math.floor(uniform() * (experts - k))
      ;[order[k], order[at]] = [order[at] as number, order[k] as number]
      return order[k]
    })
  }
  return {
    layers,
    experts,
    topK,
    ids: Uint32Array.from({ length: tokens }, (_, t) => t),
    positions: Uint32Array.from({ length: tokens }, (_, t) => t),
    chosen: Uint16Array.from(Array.from({ length: tokens * layers }, draw).flat()),
  }
}

describe('LRU', () => {
  /** Residents as a list, the latest first, cut to the capacity after each step. */
  function naiveHits(steps: readonly Step[], capacity: number): number {
    let hits = 0
    const recent = new Map<number, number[]>()
    for (const { needed, layer } of steps) {
      const before = recent.get(layer) ?? []
      hits += needed.filter(expert => before.includes(expert)).length
      const latest = [...needed].reverse()
      recent.set(layer, [...latest, ...before.filter(expert => !needed.includes(expert))].slice(0, capacity))
    }
    return hits
  }

  test('equals a list that is cut to length', () =>
    fc.assert(
      fc.property(recordings, fc.double({ min: 0.01, max: 1, noNaN: true }), (choices, share) => {
        const steps = stepsOf(choices)
        const plan = planPools('layer', share, choices)
        const lru = createPolicy({ kind: 'lru' }, choices)
        expect(hitsOf(steps, choices, plan, lru)).toBe(naiveHits(steps, plan.capacity))
      }),
    ))

  test('has no fewer hits with more places', () =>
    fc.assert(
      fc.property(recordings, plans, (choices, { kind, share }) => {
        const steps = stepsOf(choices)
        const { capacity } = planPools(kind, share, choices)
        const hits = [capacity, capacity + 1].map(places =>
          hitsOf(steps, choices, { kind, capacity: places }, createPolicy({ kind: 'lru' }, choices)),
        )
        expect(hits[1]).toBeGreaterThanOrEqual(hits[0] as number)
      }),
    ))
})

describe('the victim', () => {
  const grid = { layers: 2, experts: 4 } // experts 0..3 are of layer 0, 4..7 of layer 1

  function victimOf(
    config: Parameters<typeof createPolicy>[0],
    uses: readonly [expert: number, now: number][],
    candidates: readonly number[],
    now: number,
  ): number {
    const policy = createPolicy(config, grid)
    for (const [expert, at] of uses) policy.use(expert, at)
    return policy.victim(candidates, now)
  }

  test('of LFU has the fewest uses, counted also while it was away', () => {
    const uses: [number, number][] = [
      [0, 0],
      [0, 2],
      [1, 4],
      [2, 6],
      [2, 8],
    ]
    expect(victimOf({ kind: 'lfu' }, uses, [0, 1, 2], 10)).toBe(1)
  })

  test('of LFRU has fewer uses however recent, and of equal uses the older one', () => {
    expect(
      victimOf(
        { kind: 'lfru' },
        [
          [0, 0],
          [0, 2],
          [1, 6],
        ],
        [0, 1],
        8,
      ),
    ).toBe(1)
    expect(
      victimOf(
        { kind: 'lfru' },
        [
          [0, 0],
          [1, 6],
        ],
        [1, 0],
        8,
      ),
    ).toBe(0)
  })

  test('of LFRU may be one whose many uses are long ago', () => {
    const uses: [number, number][] = [
      [0, 0],
      [0, 2],
      [0, 4],
      [1, 6],
      [1, 8],
    ]
    expect(victimOf({ kind: 'lfru', halving: 3 }, uses, [0, 1], 8)).toBe(0)
  })

  test('of least-stale is not of this pass, and its layer has just had its turn', () => {
    // Pass 3 is in layer 1 (now = 7): layer 0 comes next, so that the stale expert of layer 1 waits longest.
    const uses: [number, number][] = [
      [0, 0],
      [5, 1],
      [4, 3],
      [1, 6],
    ]
    expect(victimOf({ kind: 'least-stale' }, uses, [0, 1, 4, 5], 7)).toBe(5)
    expect(victimOf({ kind: 'least-stale' }, uses, [0, 1], 7)).toBe(0)
  })

  test('of activation-aware is rare in this text, and of equals in the later layer', () => {
    const uses: [number, number][] = [
      [0, 0],
      [0, 2],
      [1, 4],
      [4, 1],
      [5, 3],
    ]
    expect(victimOf({ kind: 'activation-aware' }, uses, [0, 1], 6)).toBe(1)
    expect(victimOf({ kind: 'activation-aware' }, uses, [2, 6], 6)).toBe(6)
    const policy = createPolicy({ kind: 'activation-aware' }, grid)
    policy.use(0, 0)
    policy.begin?.()
    policy.use(1, 2)
    expect(policy.victim([0, 1], 4)).toBe(0)
  })

  test('of static is the coldest of the table, whose size is checked', () => {
    const counts = [5, 1, 2, 3, 4, 4, 4, 4]
    expect(victimOf({ kind: 'static', counts }, [[1, 0]], [0, 1, 2], 2)).toBe(1)
    expect(() => createPolicy({ kind: 'static', counts: [1] }, grid)).toThrow(
      'counts: 1 counts for 2 layers of 4 experts; give 8',
    )
  })

  test('of random repeats with its seed', () => {
    const draws = (seed: number): number[] => {
      const policy = createPolicy({ kind: 'random', seed }, grid)
      return Array.from({ length: 20 }, () => policy.victim([0, 1, 2, 3], 0))
    }
    expect(draws(1)).toEqual(draws(1))
    expect(draws(1)).not.toEqual(draws(2))
  })
})

test('the default is LFRU until no more experts are left out than one token chooses', () => {
  expect([8, 32, 55, 56, 64].map(capacity => defaultPolicy(capacity, 64, 8).kind)).toEqual([
    'lfru',
    'lfru',
    'lfru',
    'lru',
    'lru',
  ])
})

test('settings need no more than a name, and unknown ones are refused', () => {
  expect(policySchema.parse('lru')).toEqual({ kind: 'lru' })
  expect(policySchema.parse({})).toEqual({ kind: 'lru' })
  expect(() => policySchema.parse({ kind: 'clock' })).toThrow()
})

test('a pool without places is refused', () => {
  expect(() => new ExpertPool(0, createPolicy({ kind: 'lru' }, { layers: 1, experts: 1 }))).toThrow(
    'capacity: must be a whole number of at least 1, got 0',
  )
})
