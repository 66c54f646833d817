import { expect, test } from 'vitest'
import { byteTokenizer, wordsOfTokens } from './index.ts'

test('tokens that differ in case are one word; the others and those without text are words of their own', () => {
  const tokenizer = byteTokenizer()
  const words = wordsOfTokens(tokenizer, tokenizer.vocabSize + 2)
  expect(words.length).toBe(tokenizer.vocabSize + 2)
  // 26 pairs of letters; every other byte, special token and row beyond the vocabulary alone.
  expect(new Set(words).size).toBe(words.length - 26)
  const wordOf = (text: string): number | undefined =>
    words[
      Array.from({ length: tokenizer.vocabSize }, (_, id) => id).find(
        id => tokenizer.decode([id]) === text,
      ) ?? -1
    ]
  expect(wordOf('A')).toBe(wordOf('a'))
  expect(wordOf('a')).not.toBe(wordOf('b'))
})
