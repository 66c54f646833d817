// fairseq's dictionaries: dict.txt, a symbol and its count a line, after four symbols that every dictionary begins with.

import { readFileSync } from 'node:fs'
import { FormatError } from '../../errors.ts'

/** In the order of their ids. */
export const firstSymbols = ['<s>', '<pad>', '</s>', '<unk>'] as const

/** Far above any dictionary in use. */
const mostSymbols = 4_000_000

/**
 * The symbols of a dictionary, whose place is their id (fairseq/data/dictionary.py).
 *
 * @throws FormatError naming the line that is none
 */
export function readDictionary(file: string): string[] {
  const symbols: string[] = [...firstSymbols]
  const known = new Set(symbols)
  const lines = readFileSync(file, 'utf8').split('\n')
  if (lines.length > mostSymbols) throw new FormatError(`has more than ${mostSymbols} lines`, { file })
  for (const [i, line] of lines.entries()) {
    if (line.trim() === '') continue
    const [, symbol, overwrites] = /^(.+?) -?\d+( #fairseq:overwrite)?\s*$/.exec(line) ?? []
    if (symbol === undefined)
      throw new FormatError(`line ${i + 1} is no symbol with its count, as 'the 42'`, { file })
    if (known.has(symbol) && !overwrites)
      throw new FormatError(`line ${i + 1} has '${symbol}' again: each symbol comes once`, { file })
    if (known.has(symbol)) replace(symbols, symbol)
    else symbols.push(symbol)
    known.add(symbol)
  }
  return symbols
}

/**
 * Gives a symbol a new id, after all others; under the old one no text has it any more. The first four are marks of their own, which stay
 * what they are: of these the new id has another name.
 */
function replace(symbols: string[], symbol: string): void {
  const place = symbols.indexOf(symbol)
  const other = `${symbol} #${symbols.length}` // a space is in no word
  if (place >= firstSymbols.length) symbols[place] = other
  symbols.push(place < firstSymbols.length ? other : symbol)
}

/** A tokenizer.json of words between spaces, each a symbol; what is none is `<unk>`. */
export function wordTokenizerJson(symbols: readonly string[]): string {
  const isSentencePiece = symbols.some(symbol => symbol.startsWith('\u2581'))
  return `${JSON.stringify(
    {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: firstSymbols.map((content, id) => ({ id, content, ...asSpecial })),
      normalizer: null,
      pre_tokenizer: { type: 'WhitespaceSplit' },
      post_processor: null,
      decoder: isSentencePiece ? sentencePieceDecoder : null,
      model: {
        type: 'WordLevel',
        vocab: Object.fromEntries(symbols.map((s, id) => [s, id])),
        unk_token: '<unk>',
      },
    },
    undefined,
    1,
  )}\n`
}

const asSpecial = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }

/** Pieces are joined, and a bar is the space before a word. */
const sentencePieceDecoder = {
  type: 'Metaspace',
  replacement: '\u2581',
  prepend_scheme: 'always',
  split: true,
}

/** What is for what. */
export const wordTokenizerConfig = `${JSON.stringify(
  { tokenizer_class: 'PreTrainedTokenizerFast', bos_token: '<s>', pad_token: '<pad>', eos_token: '</s>' },
  undefined,
  2,
)}\n`
