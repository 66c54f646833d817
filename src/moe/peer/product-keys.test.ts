import fc from 'fast-check'
import { expect, test } from 'vitest'
import { expectClose } from '../../../tests/support/tensors.ts'
import { gradcheck, randn, tensor, tidy } from '../../torch/index.ts'
import { matchProductKeys } from '../index.ts'

/** All n^2 sums in order of their number, best first. */
function bruteForce(first: readonly number[], second: readonly number[]): { sum: number; index: number }[] {
  const all = first.flatMap((a, i) => second.map((b, j) => ({ sum: a + b, index: i * second.length + j })))
  return all.sort((a, b) => b.sum - a.sum)
}

const listsAndK = (score: fc.Arbitrary<number>) =>
  fc.integer({ min: 1, max: 12 }).chain(n => {
    const list = fc.array(score, { minLength: n, maxLength: n })
    return fc.tuple(list, list, fc.integer({ min: 1, max: n }))
  })

test('property: the best keys are those of a search through all of them', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 16 }), fc.nat(), (n, k, seed) =>
      tidy(() => {
        const topK = Math.min(n, k)
        const [first, second] = [seed, seed + 1].map(s => randn([n], { dtype: 'f64', seed: s }))
        const { scores, indices } = matchProductKeys(first!, second!, topK)
        const best = bruteForce(first!.tolist() as number[], second!.tolist() as number[]).slice(0, topK)
        expect(indices.tolist()).toEqual(best.map(one => one.index)) // normal variables: no ties
        expect(scores.tolist()).toEqual(best.map(one => one.sum)) // the same two numbers added
      }),
    ),
    { numRuns: 100 },
  )
})

test('property: with ties the scores are the best there are, each of the key it names, and no key comes twice', () => {
  fc.assert(
    fc.property(listsAndK(fc.integer({ min: 0, max: 3 })), ([first, second, topK]) =>
      tidy(() => {
        const matches = matchProductKeys(tensor(first), tensor(second), topK)
        const scores = matches.scores.tolist() as number[]
        const indices = matches.indices.tolist() as number[]
        expect(scores).toEqual(
          bruteForce(first, second)
            .slice(0, topK)
            .map(one => one.sum),
        )
        expect(new Set(indices).size).toBe(topK)
        const n = second.length
        expect(indices.map(e => (first[Math.floor(e / n)] ?? 0) + (second[e % n] ?? 0))).toEqual(scores)
      }),
    ),
    { numRuns: 100 },
  )
})

test('keys are numbered i n + j', () => {
  const { indices } = matchProductKeys(tensor([0, 0, 9]), tensor([0, 5, 0]), 1)
  expect(indices.tolist()).toEqual([2 * 3 + 1])
})

test('batches of any shape are matched row by row', () => {
  const [first, second] = [randn([2, 3, 5], { seed: 1 }), randn([2, 3, 5], { seed: 2 })]
  const { scores, indices } = matchProductKeys(first, second, 4)
  expect(indices.shape).toEqual([2, 3, 4])
  const alone = matchProductKeys(first.select(0, 1).select(0, 2), second.select(0, 1).select(0, 2), 4)
  expect(scores.select(0, 1).select(0, 2).equal(alone.scores)).toBe(true)
  expect(matchProductKeys(randn([0, 5]), randn([0, 5]), 2).indices.shape).toEqual([0, 2])
})

test('the gradient goes to the halves of the kept keys', () => {
  const first = randn([2, 4], { dtype: 'f64', seed: 1, requiresGrad: true })
  const second = randn([2, 4], { dtype: 'f64', seed: 2, requiresGrad: true })
  gradcheck(() => matchProductKeys(first, second, 2).scores.softmax(-1).square().sum(), [first, second])
  first.grad = null
  matchProductKeys(first, second, 1).scores.sum().backward()
  expectClose(first.grad!, first.eq(first.max(-1, true)[0]).double(), 0)
})
