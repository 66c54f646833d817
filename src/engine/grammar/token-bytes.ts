// The bytes that each token adds to a text, whatever its tokenizer is made of.

import { byteCharacters, type Tokenizer } from '../../data/index.ts'
import type { VocabularyBytes } from './messages.ts'

/**
 * Of each id below `size`. Tokens that stand for no text have no bytes, nor have those whose text depends on their
 * neighbours, and those that are part of no character.
 */
export function tokenBytes(tokenizer: Tokenizer, size: number): Uint8Array[] {
  const textOf = textAfter(tokenizer)
  return Array.from({ length: Math.min(size, tokenizer.vocabSize) }, (_, id) => {
    const bytes = tokenizer.isSpecial(id) ? undefined : (tokenizer.idToBytes(id) ?? textOf(id))
    return bytes?.every((byte, i) => mayFollow(bytes[i - 1], byte)) ? bytes : new Uint8Array()
  })
}

/** What tokens add to a text that ends with a letter: vocabularies with metaspaces spell spaces, and bytes by name. */
function textAfter(tokenizer: Tokenizer): (id: number) => Uint8Array | undefined {
  const ids = Array.from({ length: tokenizer.vocabSize }, (_, id) => id)
  const letter =
    ids.find(id => tokenizer.idToToken(id) === 'a') ?? ids.find(id => tokenizer.decode([id]) === 'a')
  const before = letter === undefined ? '' : tokenizer.decode([letter])
  return id => {
    const [, byte] = /^<0x([0-9A-F]{2})>$/.exec(tokenizer.idToToken(id) ?? '') ?? []
    if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16))
    const text = tokenizer.decode(letter === undefined ? [id] : [letter, id])
    return text.startsWith(before) && !text.includes('\ufffd')
      ? Buffer.from(text.slice(before.length))
      : undefined
  }
}

/** tokenBytes() for another thread. */
export function vocabularyBytes(tokenizer: Tokenizer, width: number): VocabularyBytes {
  const tokens = tokenBytes(tokenizer, width)
  let end = 0
  const ends = Uint32Array.from(tokens, ({ length }) => (end += length))
  const bytes = new Uint8Array(end)
  for (const [id, token] of tokens.entries()) bytes.set(token, ends[id - 1] ?? 0)
  return { bytes, ends, width }
}

/** Bytes in the spelling of byte-level vocabularies: a character for each. */
export const spelled = (bytes: Uint8Array): string => Array.from(bytes, byte => byteCharacters[byte]).join('')

/**
 * Whether a byte may stand after another in UTF-8 (RFC 3629, section 4), as far as xgrammar does not know it: it counts
 * the bytes of a character, and takes overlong ones and surrogates.
 */
export function mayFollow(before: number | undefined, byte: number): boolean {
  if (before === 0xe0) return byte >= 0xa0
  if (before === 0xed) return byte < 0xa0
  if (before === 0xf0) return byte >= 0x90
  if (before === 0xf4) return byte < 0x90
  return byte !== 0xc0 && byte !== 0xc1 && byte < 0xf5
}
