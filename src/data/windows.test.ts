import fc from 'fast-check'
import { expect, test } from 'vitest'
import { lastAtMost, WindowMap } from './windows.ts'

const shards = fc.array(fc.integer({ min: 0, max: 200 }), { minLength: 1, maxLength: 6 })

test('no window crosses the end of its shard', () => {
  fc.assert(
    fc.property(shards, fc.integer({ min: 1, max: 50 }), (tokens, length) => {
      const map = new WindowMap(tokens, length)
      for (let window = 0; window < map.count; window++) {
        const { shard, offset } = map.locate(window)
        expect(offset).toBeGreaterThanOrEqual(0)
        expect(offset + length + 1).toBeLessThanOrEqual(tokens[shard]!)
      }
    }),
  )
})

test('every token that fits is a target exactly once', () => {
  fc.assert(
    fc.property(shards, fc.integer({ min: 1, max: 50 }), (tokens, length) => {
      const map = new WindowMap(tokens, length)
      const targets = tokens.map(count => new Array<number>(count).fill(0))
      for (let window = 0; window < map.count; window++) {
        const { shard, offset } = map.locate(window)
        for (let i = 1; i <= length; i++) targets[shard]![offset + i]!++
      }
      for (const [shard, count] of tokens.entries()) {
        const used = Math.floor(Math.max(0, count - 1) / length) * length
        expect(targets[shard]).toEqual(Array.from({ length: count }, (_, i) => (i >= 1 && i <= used ? 1 : 0)))
      }
    }),
  )
})

test('windows outside and lengths below one are refused', () => {
  const map = new WindowMap([11, 0, 11], 5)
  expect(map.count).toBe(4)
  expect(map.locate(2)).toEqual({ shard: 2, offset: 0 })
  for (const window of [-1, 4, 0.5]) expect(() => map.locate(window)).toThrow(RangeError)
  expect(() => new WindowMap([10], 0)).toThrow(/sequenceLength: must be at least 1/)
})

test('lastAtMost finds the last item not greater', () => {
  expect([0, 1, 2, 5, 6].map(value => lastAtMost([1, 1, 5], value))).toEqual([-1, 1, 1, 2, 2])
})
