// Types within a budget, against every combination there is.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { planTypes } from './plan.ts'
import type { TypeOption } from './sensitivity.ts'

type Group = { options: TypeOption[] }

const bytesIn = (options: readonly TypeOption[]): number => options.reduce((sum, { bytes }) => sum + bytes, 0)
const errorIn = (options: readonly TypeOption[]): number => options.reduce((sum, { error }) => sum + error, 0)

/** Tries every combination: the least error within a budget. */
function leastError(groups: readonly Group[], budget: number): number {
  const [first, ...rest] = groups
  if (!first) return 0
  return Math.min(
    ...first.options.map(({ bytes, error }) =>
      bytesIn(rest.map(cheapest)) + bytes > budget ? Infinity : error + leastError(rest, budget - bytes),
    ),
  )
}

const cheapest = ({ options }: Group): TypeOption => options.reduce((a, b) => (b.bytes < a.bytes ? b : a))

const option = (unit: number): fc.Arbitrary<TypeOption> =>
  fc.record({
    type: fc.constant<TypeOption['type']>('Q4_K'),
    bytes: fc.integer({ min: 1, max: 40 }).map(n => n * unit),
    error: fc.double({ min: 0, max: 1, noNaN: true }),
  })

const groupsOf = (unit: number): fc.Arbitrary<Group[]> =>
  fc.array(fc.record({ options: fc.array(option(unit), { minLength: 1, maxLength: 4 }) }), {
    minLength: 1,
    maxLength: 6,
  })

describe('a plan', () => {
  test('property: loses as little as the best of all combinations, and holds the budget', () => {
    const room = fc.integer({ min: 0, max: 150 })
    fc.assert(
      fc.property(groupsOf(18 * 64), room, (groups, room) => {
        const budget = bytesIn(groups.map(cheapest)) + room * 18 * 64
        const chosen = planTypes(groups, budget)
        expect(bytesIn(chosen)).toBeLessThanOrEqual(budget)
        expect(errorIn(chosen)).toBeCloseTo(leastError(groups, budget), 12)
      }),
    )
  })

  test('property: sizes without a common unit still hold the budget', () => {
    fc.assert(
      fc.property(groupsOf(1), groupsOf(99_991), fc.integer({ min: 0, max: 9_999_999 }), (a, b, room) => {
        const groups = [...a, ...b]
        const budget = bytesIn(groups.map(cheapest)) + room
        expect(bytesIn(planTypes(groups, budget))).toBeLessThanOrEqual(budget)
      }),
    )
  })

  test('property: more room never loses more', () => {
    fc.assert(
      fc.property(groupsOf(34), groupsOf(34), (a, b) => {
        const groups = [...a, ...b]
        const least = bytesIn(groups.map(cheapest))
        const errors = [0, 100, 400, 2000].map(room => errorIn(planTypes(groups, least + room)))
        expect(errors).toEqual([...errors].sort((x, y) => y - x))
      }),
    )
  })

  test('takes what loses least where everything fits', () => {
    const options: TypeOption[] = [
      { type: 'Q2_K', bytes: 84, error: 0.1 },
      { type: 'Q8_0', bytes: 272, error: 0.001 },
    ]
    expect(planTypes([{ options }, { options }], 1e12).map(({ type }) => type)).toEqual(['Q8_0', 'Q8_0'])
    expect(planTypes([{ options }, { options }], 400).map(({ type }) => type)).toContain('Q2_K')
  })
})
