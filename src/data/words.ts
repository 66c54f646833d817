// Which tokens are the same word.

import type { Tokenizer } from './tokenizer.ts'

/**
 * The word of each of `size` token ids, numbered from 0 in order of appearance: tokens whose texts differ only in case
 * and in the space around them are one word. A token without such a text is a word of its own.
 */
export function wordsOfTokens(tokenizer: Tokenizer, size = tokenizer.vocabSize): number[] {
  const numbers = new Map<string, number>()
  return Array.from({ length: size }, (_, id) => {
    const text = id < tokenizer.vocabSize && !tokenizer.isSpecial(id) ? wordIn(tokenizer.decode([id])) : ''
    const word = text === '' ? `#${id}` : ` ${text}` // a text may look like the name of a token without one
    const number = numbers.get(word) ?? numbers.size
    numbers.set(word, number)
    return number
  })
}

/** Empty for parts of a character, which decode to replacement characters. */
const wordIn = (text: string): string => (text.includes('\ufffd') ? '' : text.trim().toLowerCase())
