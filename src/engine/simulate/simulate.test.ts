// Replays with reading ahead, and simulations of every policy at every capacity.
import { describe, expect, test } from 'vitest'
import { createPolicy } from '../cache/table.ts'
import { HistoryPrefetcher } from '../prefetch/history.ts'
import type { Prefetcher } from '../prefetch/prefetcher.ts'
import { emptySlot, type RoutingChoices, stepsOf } from '../trace/choices.ts'
import { planPools } from './pools.ts'
import { replay } from './replay.ts'
import { simulateCache, simulatedPolicies } from './simulate.ts'

/** One expert in each of two layers: [first, second] of each token. */
function choicesOf(tokens: readonly (readonly [number, number])[], experts = 4): RoutingChoices {
  return {
    layers: 2,
    experts,
    topK: 1,
    ids: Uint32Array.from(tokens, (_, t) => t),
    positions: Uint32Array.from(tokens, (_, t) => t),
    chosen: Uint16Array.from(tokens.flat()),
  }
}

const lru = (choices: RoutingChoices) => createPolicy({ kind: 'lru' }, choices)
const onePlace = { kind: 'layer', capacity: 1 } as const

describe('pools', () => {
  test('hold a share of the experts, but at least what a token needs at once', () => {
    const grid = { layers: 3, experts: 16, topK: 4 }
    expect(planPools('layer', 0.5, grid)).toEqual({ kind: 'layer', capacity: 8 })
    expect(planPools('layer', 0.125, grid)).toEqual({ kind: 'layer', capacity: 4 })
    expect(planPools('global', 0.125, grid)).toEqual({ kind: 'global', capacity: 6 })
    expect(planPools('global', 1, grid)).toEqual({ kind: 'global', capacity: 48 })
  })

  test('of layers are apart, and a shared one is used by all', () => {
    const choices = choicesOf([
      [0, 0],
      [0, 0],
      [0, 0],
    ])
    const steps = stepsOf(choices)
    expect(replay(steps, choices, onePlace, lru(choices))).toMatchObject({ uses: 6, hits: 4 })
    expect(replay(steps, choices, { kind: 'global', capacity: 1 }, lru(choices))).toMatchObject({ hits: 0 })
  })
})

describe('reading ahead', () => {
  /** Always guesses one expert. */
  const always = (expert: number): Prefetcher => ({ observe() {}, predict: () => [expert] })

  test('that is right saves a miss, and is useful once for each time it read', () => {
    const choices = choicesOf([
      [0, 1],
      [0, 2],
      [0, 1],
      [0, 2],
    ])
    const right = always(4 + 1)
    const alone = replay(stepsOf(choices), choices, onePlace, lru(choices))
    const ahead = replay(stepsOf(choices), choices, onePlace, lru(choices), right)
    expect(alone).toEqual({ uses: 8, hits: 3, useful: 0, wasted: 0 })
    // Expert 1 of layer 1 is read ahead at the first and third token, and used; at the others it is still there.
    expect(ahead).toEqual({ uses: 8, hits: 5, useful: 2, wasted: 0 })
  })

  test('that is wrong is wasted, and may push out what was needed', () => {
    const choices = choicesOf([
      [0, 1],
      [0, 1],
      [0, 1],
    ])
    const wrong = replay(stepsOf(choices), choices, onePlace, lru(choices), always(4 + 3))
    expect(wrong).toEqual({ uses: 6, hits: 2, useful: 0, wasted: 3 })
  })

  test('takes no place of what a step needs in a shared pool', () => {
    const choices = choicesOf([
      [0, 1],
      [0, 1],
    ])
    const shared = { kind: 'global', capacity: 1 } as const
    expect(replay(stepsOf(choices), choices, shared, lru(choices), always(4 + 1))).toMatchObject({
      useful: 0,
      wasted: 0,
    })
  })

  test('by history guesses what most often followed, once it has seen it', () => {
    const choices = choicesOf([
      [0, 1],
      [0, 2],
      [0, 2],
      [3, 0],
    ])
    const history = new HistoryPrefetcher(choices, 2)
    const steps = stepsOf(choices)
    expect(history.predict(steps[0] as (typeof steps)[0])).toEqual([])
    for (const step of steps) history.observe(step)
    expect(history.predict(steps[0] as (typeof steps)[0])).toEqual([4 + 2, 4 + 1])
    expect(history.predict(steps[6] as (typeof steps)[0])).toEqual([4 + 0])
  })
})

test('a simulation has every policy at every capacity', async () => {
  const choices = choicesOf(Array.from({ length: 50 }, (_, t) => [t % 3, (t * 7) % 4] as const))
  const seen: number[] = []
  const { capacities, ...about } = await simulateCache(choices, {
    capacities: [0.25, 1],
    policies: simulatedPolicies,
    pools: 'layer',
    onProgress: fraction => seen.push(fraction),
  })
  expect(about).toEqual({ tokens: 50, poolExperts: 4, usesPerToken: 2 })
  expect(capacities.map(({ capacity, uniform }) => [capacity, uniform])).toEqual([
    [1, 0.25],
    [4, 1],
  ])
  for (const { hitRates } of capacities) {
    expect(Object.keys(hitRates)).toEqual([...simulatedPolicies])
    for (const rate of Object.values(hitRates)) expect(rate).toBeLessThanOrEqual(hitRates.belady as number)
  }
  // With all resident each of the 3 + 4 experts is read once.
  expect(capacities[1]?.hitRates.random).toBe(93 / 100)
  expect(seen.at(-1)).toBe(1)
})

test('slots that are always empty take no place', async () => {
  // Four slots, of which a token fills one or two: what a top-p router records.
  const chosen = Array.from({ length: 40 }, (_, t) => [
    t % 8,
    t % 2 === 0 ? emptySlot : (t + 3) % 8,
    emptySlot,
    emptySlot,
  ])
  const positions = Uint32Array.from(chosen, (_, t) => t)
  const { capacities } = await simulateCache(
    { layers: 1, experts: 8, topK: 4, ids: positions, positions, chosen: Uint16Array.from(chosen.flat()) },
    { capacities: [0.125], policies: ['lru'], pools: 'layer' },
  )
  expect(capacities[0]?.capacity).toBe(2)
})
