import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { arange, randint, randn, tensor, zeros } from '../../torch/index.ts'
import { balancedTable, HashRouter } from '../index.ts'

describe('hash', () => {
  test('an id has one expert, whatever its vector and place', () => {
    const router = new HashRouter({ numExperts: 4, vocabSize: 100 })
    const ids = randint(0, 100, [30], { seed: 1 })
    const first = router.forward(randn([30, 4], { seed: 1 }), { ids }).indices
    expect(router.forward(randn([30, 4], { seed: 2 }), { ids }).indices.tolist()).toEqual(first.tolist())
    const alone = router.forward(randn([1, 4]), { ids: ids.narrow(0, 7, 1) }).indices
    expect(alone.tolist()).toEqual(first.narrow(0, 7, 1).tolist())
  })

  test('property: no bin of a balanced table is heavier than the lightest by more than one id', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(1000), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 1, max: 8 }),
        fc.nat(3),
        (frequencies, bins, hash) => {
          const load = new Array<number>(bins).fill(0)
          for (const [id, bin] of balancedTable(frequencies, bins, hash).entries()) {
            load[bin] = (load[bin] ?? 0) + (frequencies[id] ?? 0)
          }
          expect(Math.max(...load) - Math.min(...load)).toBeLessThanOrEqual(Math.max(...frequencies))
        },
      ),
    )
  })

  test('several functions each choose from a part of their own', () => {
    const router = new HashRouter({ numExperts: 6, vocabSize: 50, hashes: 3 })
    const { indices } = router.forward(zeros([50, 2]), { ids: arange(50) })
    expect(indices.floorDivide(2).tolist()).toEqual(Array.from({ length: 50 }, () => [0, 1, 2]))
  })

  test.each([
    [{ hashes: 4 }, {}, 'router.hashes: must divide the 6 experts, got 4'],
    [{}, {}, 'router: needs the ids of the tokens'],
    [{}, { ids: tensor([5n]) }, 'router.ids: has an id outside of 0..4: 5'],
    [{ frequencies: [1, 2] }, {}, 'router.frequencies: has 2 entries for 5 ids'],
  ])('%o with %o is refused', (options, context, message) => {
    expect(() =>
      new HashRouter({ numExperts: 6, vocabSize: 5, ...options }).forward(zeros([1, 2]), context),
    ).toThrow(message)
  })
})
