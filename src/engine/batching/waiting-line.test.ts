// Who is next.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Waiting, WaitingLine } from './waiting-line.ts'

const taken = (line: WaitingLine<Waiting & { name?: string }>): string[] => {
  const names: string[] = []
  for (let next = line.take(); next; next = line.take()) names.push(next.name ?? '')
  return names
}

test('many requests of one key do not hold up those of another', () => {
  const line = new WaitingLine<Waiting & { name: string }>(10)
  for (const name of ['a1', 'a2', 'a3', 'b1', 'b2', 'c1'])
    line.add({ key: name.slice(0, 1), priority: 0, name })
  expect(taken(line)).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3'])
})

test('priorities go before turns', () => {
  const line = new WaitingLine<Waiting & { name: string }>(10)
  for (const [name, priority] of [
    ['a1', 0],
    ['a2', 1],
    ['b1', 0],
    ['b2', 1],
    ['b3', 1],
  ] as const)
    line.add({ key: name.slice(0, 1), priority, name })
  expect(taken(line)).toEqual(['a2', 'b2', 'b3', 'a1', 'b1'])
})

test('everybody who waits is next once, those of a key in order, and no key waits longer than a round of all', () =>
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 30 }), keys => {
      const line = new WaitingLine<Waiting & { name: string; number: number }>(30)
      for (const [number, key] of keys.entries()) line.add({ key: `${key}`, priority: 0, name: '', number })
      const order: { key: string; number: number }[] = []
      for (let next = line.take(); next; next = line.take()) order.push(next)
      expect(order.map(({ number }) => number).toSorted((a, b) => a - b)).toEqual([...keys.keys()])
      for (const key of new Set(keys)) {
        const own = order.flatMap((one, turn) => (one.key === `${key}` ? { ...one, turn } : []))
        expect(own.map(({ number }) => number)).toEqual(
          own.map(({ number }) => number).toSorted((a, b) => a - b),
        )
        own.forEach(({ turn }, i) => {
          expect(turn).toBeLessThan(new Set(keys).size * (i + 1))
        })
      }
    }),
  ))

test('more than may wait are refused', () => {
  const line = new WaitingLine<Waiting>(1)
  line.add({ key: '', priority: 0 })
  expect(() => line.add({ key: '', priority: 0 })).toThrow('1 requests wait already')
})
