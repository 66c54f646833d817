import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expertCapacity } from '../index.ts'

const ten = { tokens: 10, numExperts: 8, topK: 2 }

describe('slots per expert', () => {
  test('a share that is not whole is rounded up', () => {
    const of = (share: 'choices' | 'tokens', factor: number): number =>
      expertCapacity(ten, { factor, share, minimum: 1 })
    expect(of('choices', 1.25)).toBe(4) // 1.25 * 10 * 2 / 8 = 3.125
    expect(of('tokens', 1.25)).toBe(2) // 1.25 * 10 / 8 = 1.5625
    expect(of('tokens', 0.9)).toBe(2) // 0.9 * 10 / 8 = 1.125
    expect(of('choices', 2)).toBe(5) // whole: 2 * 10 * 2 / 8
  })

  test('in evaluation a share of the tokens is rounded up too', () => {
    const options = { factor: 1, evalTokenFraction: 0.25, minimum: 1 }
    expect(expertCapacity({ ...ten, tokens: 9 }, options, false)).toBe(3) // 2.25
    expect(expertCapacity({ ...ten, tokens: 8 }, options, false)).toBe(2)
  })

  test('what holds for evaluation alone does not change training', () => {
    const options = { factor: 1, evalFactor: 3, minimum: 1 }
    expect(expertCapacity(ten, options)).toBe(3) // 2.5
    expect(expertCapacity(ten, options, false)).toBe(8) // 7.5
    expect(expertCapacity(ten, { ...options, evalTokenFraction: 0.6 })).toBe(3)
    expect(expertCapacity(ten, { ...options, evalTokenFraction: 0.6 }, false)).toBe(6)
    expect(expertCapacity(ten, { factor: 1, minimum: 1 }, false)).toBe(3)
  })

  test('there are at least four by default, and never more than tokens', () => {
    expect(expertCapacity(ten, { factor: 1 })).toBe(4)
    expect(expertCapacity(ten, { factor: 1, evalTokenFraction: 0.1 }, false)).toBe(4)
    expect(expertCapacity({ ...ten, tokens: 3 }, { factor: 1 })).toBe(3)
    expect(expertCapacity(ten, { factor: 1, evalTokenFraction: 2 }, false)).toBe(10)
  })

  test('property: at a factor of 1 all choices fit when they are even, and one slot fewer would not do', () => {
    const sizes = fc.record({
      tokens: fc.integer({ min: 1, max: 500 }),
      numExperts: fc.integer({ min: 1, max: 64 }),
      topK: fc.integer({ min: 1, max: 8 }),
    })
    fc.assert(
      fc.property(
        sizes.filter(({ topK, numExperts }) => topK <= numExperts),
        ({ tokens, numExperts, topK }) => {
          const slots = expertCapacity({ tokens, numExperts, topK }, { factor: 1, minimum: 1 })
          expect(slots * numExperts).toBeGreaterThanOrEqual(tokens * topK)
          expect((slots - 1) * numExperts).toBeLessThan(tokens * topK)
        },
      ),
    )
  })

  test('factors of evaluation that are not above 0 are refused when they are used', () => {
    const none = { factor: 1, evalFactor: 0 }
    expect(expertCapacity(ten, none)).toBe(4)
    expect(() => expertCapacity(ten, none, false)).toThrow('dispatch.evalFactor: must be above 0, got 0')
    expect(() => expertCapacity(ten, { factor: 1, evalTokenFraction: 0 }, false)).toThrow(
      'dispatch.evalTokenFraction: must be above 0, got 0',
    )
  })
})
