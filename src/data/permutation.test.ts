import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Permutation } from './permutation.ts'

const orderOf = (permutation: Permutation): number[] =>
  Array.from({ length: permutation.size }, (_, position) => permutation.at(position))

test('every index stands at exactly one position', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2000 }),
      fc.integer(),
      fc.integer({ min: 0 }),
      (size, seed, epoch) => {
        const order = orderOf(new Permutation(size, [seed, epoch]))
        expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, i) => i))
      },
    ),
  )
})

test('sizes beyond 32 bits stay inside', () => {
  const size = 2 ** 45 + 12_345
  const permutation = new Permutation(size, [7])
  const places = Array.from({ length: 1000 }, (_, i) => permutation.at(i * 1e9))
  for (const place of places) expect(place >= 0 && place < size && Number.isSafeInteger(place)).toBe(true)
  expect(new Set(places).size).toBe(1000)
})

test('each order of a few items comes about equally often', () => {
  const counts = new Map<string, number>()
  for (let key = 0; key < 6000; key++) {
    const order = orderOf(new Permutation(4, [key])).join('')
    counts.set(order, (counts.get(order) ?? 0) + 1)
  }
  expect(counts.size).toBe(24)
  // 250 expected each, standard deviation 15
  for (const count of counts.values()) expect(Math.abs(count - 250)).toBeLessThan(85)
})

test('neighbours are scattered', () => {
  const order = orderOf(new Permutation(10_000, [3, 0]))
  const steps = order.slice(1).map((index, i) => Math.abs(index - order[i]!))
  const mean = steps.reduce((sum, step) => sum + step, 0) / steps.length
  expect(mean).toBeGreaterThan(3200) // a third of the size for a random order
  expect(mean).toBeLessThan(3470)
})

test('keys differ by each part, high bits included', () => {
  const keys = [[1], [2], [1, 0], [1, 1], [-1], [2 ** 40], [2 ** 41]]
  expect(new Set(keys.map(key => orderOf(new Permutation(50, key)).join())).size).toBe(keys.length)
})
