// EPLB, against worked examples and by what any placement must be.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { balancedPacking, type LayerPlacement, rebalanceExperts, replicateExperts } from './eplb.ts'

/** Of two layers of 12 experts, what the published implementation gives for 16 copies on 2 nodes of 4 GPUs. */
const loads = [
  [90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86],
  [20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27],
]
const published = [
  [5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1],
  [7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1],
]

function gpuLoads(load: readonly number[], { expertAt, placesOf }: LayerPlacement, gpus: number): number[] {
  const perGpu = expertAt.length / gpus
  return Array.from({ length: gpus }, (_, gpu) =>
    expertAt
      .slice(gpu * perGpu, (gpu + 1) * perGpu)
      .reduce((sum, expert) => sum + (load[expert] as number) / (placesOf[expert] as number[]).length, 0),
  )
}

describe('worked examples', () => {
  const placed = rebalanceExperts(loads, { replicas: 16, groups: 4, nodes: 2, gpus: 8 })

  test('are placed as published', () => {
    expect(placed.map(({ expertAt }) => expertAt)).toEqual(published)
  })

  test('have the heaviest and mean load of a GPU that were worked out', () => {
    const heaviest = placed.map((layer, l) => Math.max(...gpuLoads(loads[l] as number[], layer, 8)))
    const means = loads.map(load => load.reduce((a, b) => a + b) / 8)
    expect(heaviest).toEqual([156, 179.5])
    expect(means).toEqual([129.125, 144.5])
  })

  test('keep each group of experts on one node', () => {
    for (const { placesOf } of placed)
      for (let group = 0; group < 4; group++) {
        const places = placesOf.slice(group * 3, group * 3 + 3).flat()
        expect(new Set(places.map(place => Math.floor(place / 8))).size).toBe(1)
      }
  })

  test('are placed over all GPUs alike where groups do not fit nodes', () => {
    const options = { replicas: 16, gpus: 8 }
    expect(rebalanceExperts(loads, { ...options, groups: 3, nodes: 2 })).toEqual(
      rebalanceExperts(loads, options),
    )
  })
})

const sizes = fc
  .record({
    perGpu: fc.integer({ min: 1, max: 4 }),
    gpus: fc.integer({ min: 1, max: 6 }),
    load: fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 24 }),
  })
  .filter(({ perGpu, gpus, load }) => perGpu * gpus >= load.length)

test('every expert has a copy, every GPU its share, and both maps say the same', () =>
  fc.assert(
    fc.property(sizes, ({ perGpu, gpus, load }) => {
      const [{ expertAt, placesOf }] = rebalanceExperts([load], { replicas: perGpu * gpus, gpus }) as [
        LayerPlacement,
      ]
      expect(expertAt).toHaveLength(perGpu * gpus)
      expect(placesOf.every(places => places.length > 0)).toBe(true)
      expect(placesOf.flat().sort((a, b) => a - b)).toEqual(Array.from(expertAt.keys()))
      for (const [expert, places] of placesOf.entries())
        for (const place of places) expect(expertAt[place]).toBe(expert)
    }),
  ))

test('a copy more never makes the busiest copy busier', () =>
  fc.assert(
    fc.property(sizes, ({ load }) => {
      const busiest = (replicas: number): number => {
        const { counts } = replicateExperts(load, replicas)
        return Math.max(...load.map((tokens, e) => tokens / (counts[e] as number)))
      }
      expect(busiest(load.length + 1)).toBeLessThanOrEqual(busiest(load.length))
    }),
  ))

test('packs hold equally many', () => {
  expect(balancedPacking([5, 1, 4, 2], 2)).toEqual({ pack: [0, 0, 1, 1], place: [0, 1, 0, 1] })
})

test.each([
  ['packs: 3 cannot be dealt out evenly to 2', () => balancedPacking([1, 2, 3], 2)],
  ['replicas: must be a whole number of at least the 2 experts, got 1', () => replicateExperts([1, 2], 1)],
  ['gpus: 4 cannot be dealt out evenly to 3', () => rebalanceExperts([[1, 2]], { replicas: 4, gpus: 3 })],
  [
    'groups: 3 cannot be dealt out evenly to 2',
    () => rebalanceExperts([[1, 2, 3]], { replicas: 4, gpus: 2, groups: 2, nodes: 2 }),
  ],
])('refused: %s', (message, place) => expect(place).toThrow(message))
