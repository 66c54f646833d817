import { expect, test } from 'vitest'
import { arange, zeros } from '../../torch/index.ts'
import { countPerExpert, WordRouter } from '../index.ts'

test('tokens of one word share its expert, and words are spread by frequency', () => {
  const router = new WordRouter({ numExperts: 2, vocabSize: 6 })
  // Words: 0 (tokens 0 and 3, 6 times), 1 (token 1, 5 times), 2 (token 2, 3 times), 3 (tokens 4 and 5, 2 times).
  router.assign([0, 1, 2, 0, 3, 3], [4, 5, 3, 2, 1, 1])
  const { indices } = router.forward(zeros([6, 3]), { ids: arange(0, 6) })
  expect(indices.squeeze(-1).tolist()).toEqual([0, 1, 1, 0, 0, 0]) // loads 6 | 5, then 6 | 8, then 8 | 8
  expect(countPerExpert(router.forward(zeros([6, 3]), { ids: arange(0, 6) }))).toEqual([4, 2])
})

test('the words must be those of the vocabulary', () => {
  const router = new WordRouter({ numExperts: 2, vocabSize: 3 })
  expect(() => router.assign([0, 1], [1, 1])).toThrow('2 words for 3 tokens')
})
