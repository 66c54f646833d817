// Conversations as tokens, and which of these are to be learnt.

import type { Tokenizer } from '../tokenizer.ts'
import type { AnsweredText } from './answers.ts'

export interface EncodedExample {
  ids: number[]
  /** Of each id: 1 where it is part of an answer. */
  taught: Uint8Array
}

/**
 * The tokens of a text. One is part of an answer when its last character is. Of what follows the last special token of an
 * answer, as the line break after an end of turn, nothing is learnt: there the model stops. An answer that ends in none gets the end of
 * text.
 */
export async function encodeAnswered(
  { text, answers, isTemplated }: AnsweredText,
  tokenizer: Tokenizer,
): Promise<EncodedExample> {
  const encoded = await tokenizer.encodeWithEnds(text, {
    specials: isTemplated ? 'token' : 'text',
    addSpecialTokens: !isTemplated,
  })
  const ids = [...encoded.ids]
  const taught = new Uint8Array(ids.length + 1)
  const points = codePoints(text)
  let isClosed = false
  for (const [start, end] of answers) {
    const [from, to] = [points(start), points(end)]
    const places = encoded.ends.flatMap((at, i) => (from < at && at <= to ? [i] : []))
    const lastSpecial = places.findLastIndex(place => tokenizer.isSpecial(ids[place] as number))
    const isEnd =
      lastSpecial >= 0 && places.slice(lastSpecial + 1).every(i => isBlank(ids[i] as number, tokenizer))
    for (const place of isEnd ? places.slice(0, lastSpecial + 1) : places) taught[place] = 1
    isClosed = isEnd
  }
  const { eos } = tokenizer.specialIds
  const isCut = !isClosed && eos !== undefined
  if (isCut) {
    taught[ids.length] = 1
    ids.push(eos)
  }
  return { ids, taught: taught.slice(0, ids.length) }
}

const isBlank = (id: number, tokenizer: Tokenizer): boolean => tokenizer.decode([id]).trim() === ''

/** Places in UTF-16 code units as places in code points, which tokenizers count. */
function codePoints(text: string): (unit: number) => number {
  // Only texts with characters beyond the basic plane differ.
  if (!/[\ud800-\udbff]/.test(text)) return unit => unit
  const before = new Uint32Array(text.length + 1)
  let count = 0
  for (let i = 0; i < text.length; i++) {
    before[i] = count
    const code = text.charCodeAt(i)
    const isSecondHalf = code >= 0xdc00 && code < 0xe000 && i > 0
    if (!isSecondHalf) count++
  }
  before[text.length] = count
  return unit => before[unit] as number
}
