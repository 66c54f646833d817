import { expect, test } from 'vitest'
import { byteTokenizer, type Tokenizer, wordsOfTokens } from './index.ts'

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

test('space around a token does not count; what has no text is no word, whatever another token looks like', () => {
  const texts = ['<s>', 'The', ' the', 'the\n', '<s>', ' ', '', '#5', '\ufffd', '\ufffd']
  const tokenizer: Tokenizer = {
    ...byteTokenizer(),
    vocabSize: texts.length,
    decode: ids => ids.map(id => texts[id]).join(''),
    isSpecial: id => id === 0,
  }
  // In order of appearance: the special token, one word of three, its spelling as text, space, nothing, ...
  expect(wordsOfTokens(tokenizer, 11)).toEqual([0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8])
})
