// Experts by co-activation, against all placements of a few, and by what any must be.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { clusterExperts, countCoActivation, pairsTogether } from './co-activation.ts'

test('co-activation counts pairs both ways and each expert with itself', () => {
  expect(countCoActivation([[0, 2], [2, 0], [1]], 3)).toEqual([
    [2, 0, 2],
    [0, 1, 0],
    [2, 0, 2],
  ])
})

/** Every way to put items on devices with as many places. */
function placements(experts: number, devices: number): number[][] {
  const size = experts / devices
  const extend = (placed: number[]): number[][] =>
    placed.length === experts
      ? [placed]
      : Array.from({ length: devices }, (_, d) => d)
          .filter(d => placed.filter(each => each === d).length < size)
          .flatMap(d => extend([...placed, d]))
  return extend([])
}

const tokens = fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { minLength: 2, maxLength: 3 }), {
  minLength: 1,
  maxLength: 40,
})

// Halves of six differ by one exchange at most, so where none wins anything the best is found. Of pairs, each that the best has weighs
// at most as much as the two that its experts are in, and each of these is counted twice.
test.each([
  [2, 1],
  [3, 1 / 2],
])('six experts on %i devices: at least %f of the pairs that can meet', (devices, share) =>
  fc.assert(
    fc.property(tokens, choices => {
      const counts = countCoActivation(choices, 6)
      const best = Math.max(...placements(6, devices).map(each => pairsTogether(counts, each)))
      const reached = pairsTogether(counts, clusterExperts(counts, { devices, balance: 6 }))
      expect(reached).toBeGreaterThanOrEqual(share * best)
    }),
  ),
)

test('experts that are chosen in pairs are found, however they are numbered', () => {
  const pairs = [0, 5, 1, 4, 2, 7, 3, 6]
  const choices = Array.from({ length: 400 }, (_, t) => [pairs[(t % 4) * 2]!, pairs[(t % 4) * 2 + 1]!])
  const device = clusterExperts(countCoActivation(choices, 8), { devices: 4 })
  for (let i = 0; i < 8; i += 2) expect(device[pairs[i]!]).toBe(device[pairs[i + 1]!])
})

test('devices have equally many, and groups of experts are on one node', () =>
  fc.assert(
    fc.property(
      fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 15 }), { minLength: 4, maxLength: 4 }), {
        maxLength: 50,
      }),
      choices => {
        const device = clusterExperts(countCoActivation(choices, 16), { devices: 8, nodes: 2, groups: 4 })
        for (let d = 0; d < 8; d++) expect(device.filter(each => each === d)).toHaveLength(2)
        for (let g = 0; g < 4; g++)
          expect(new Set(device.slice(4 * g, 4 * g + 4).map(d => Math.floor(d / 4))).size).toBe(1)
      },
    ),
  ))

test('a device that would be heavier than allowed takes other experts', () => {
  // 0 and 1 go together most, but are the busy ones.
  const choices = [...Array.from({ length: 10 }, () => [0, 1]), ...Array.from({ length: 4 }, () => [2, 3])]
  const counts = countCoActivation(choices, 4)
  expect(clusterExperts(counts, { devices: 2, balance: 2 })).toEqual([0, 0, 1, 1])
  const even = clusterExperts(counts, { devices: 2, balance: 1.1 })
  expect(even[0]).not.toBe(even[1])
})

test.each([
  ['devices: 4 cannot be dealt out evenly to 3', { devices: 3 }],
  ['groups: 4 cannot be dealt out evenly to 3', { devices: 2, groups: 3 }],
])('refused: %s', (message, options) =>
  expect(() => clusterExperts(countCoActivation([], 4), options)).toThrow(message),
)
