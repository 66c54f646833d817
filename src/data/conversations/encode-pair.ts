// Sources and targets as encoder-decoders read them: each a text of its own.

import { DataError } from '../../errors.ts'
import type { EncodeOptions, Tokenizer } from '../tokenizer.ts'
import type { AnsweredText } from './answers.ts'
import type { EncodedExample } from './encode.ts'

/** The tokens of a text's last answer, which are to be learnt, after those of all before it. */
export async function encodePair(
  { text, answers, isTemplated, languages = {} }: AnsweredText,
  tokenizer: Tokenizer,
): Promise<EncodedExample> {
  const [start, end] = answers.at(-1) ?? [text.length, text.length]
  const [source, target] = await Promise.all([
    encodeSide(text.slice(0, start), languages.source, tokenizer, isTemplated),
    encodeSide(text.slice(start, end), languages.target, tokenizer, isTemplated),
  ])
  const { eos } = tokenizer.specialIds
  if (eos !== undefined && target.length > 0 && !target.includes(eos)) target.push(eos) // where the model stops
  const ids = [...source, ...target]
  const taught = Uint8Array.from(ids, (_, i) => (i < source.length ? 0 : 1))
  return { ids, taught }
}

/**
 * A text with what the tokenizer's file puts around it, as models read prompts. With a language its token comes first and the end of text
 * last (NLLB: `labels` begin with the language of the target).
 */
export async function encodeSide(
  text: string,
  language: string | undefined,
  tokenizer: Tokenizer,
  isTemplated: boolean,
): Promise<number[]> {
  if (text === '') return []
  const named = languageToken(language, tokenizer)
  const options: EncodeOptions = {
    specials: isTemplated ? 'token' : 'text',
    addSpecialTokens: named === null,
  }
  const ids = await tokenizer.encode(text, options)
  if (named === null) return ids
  const { eos } = tokenizer.specialIds
  return [named, ...ids, ...(eos === undefined ? [] : [eos])]
}

/** Languages as NLLB names them. */
const nllbLanguage = /^[a-z]{3}_[A-Z][a-z]{3}$/

/**
 * The token of a language, `eng_Latn` (NLLB) or `__en__` (M2M-100); null of none, and where the tokenizer has no languages.
 *
 * @throws DataError for a language that is not among the tokenizer's
 */
export function languageToken(language: string | undefined, tokenizer: Tokenizer): number | null {
  if (language === undefined) return null
  const tokens = specialTokens(tokenizer)
  const id = tokens.get(language) ?? tokens.get(`__${language}__`)
  if (id !== undefined) return id
  const known = [...tokens.keys()].filter(token => nllbLanguage.test(token) || /^__\w+__$/.test(token))
  if (known.length === 0) return null
  throw new DataError(
    `the tokenizer has no token of the language '${language}': name it as there, as ${known.slice(0, 3).join(', ')}`,
  )
}

const found = new WeakMap<Tokenizer, ReadonlyMap<string, number>>()

/** The tokens that stand for no text, by name. */
function specialTokens(tokenizer: Tokenizer): ReadonlyMap<string, number> {
  const known = found.get(tokenizer)
  if (known) return known
  const named = Array.from({ length: tokenizer.vocabSize }, (_, id) => [tokenizer.idToToken(id), id] as const)
  const tokens = new Map(
    named.flatMap(([token, id]) =>
      token !== undefined && tokenizer.isSpecial(id) ? [[token, id] as const] : [],
    ),
  )
  found.set(tokenizer, tokens)
  return tokens
}
