// How texts are cut before merges apply, by the names that GGUF files give (llama.cpp, llama-vocab.cpp). A name stands
// for regular expressions that tokenizer.json writes out.

/** A pre_tokenizer of tokenizer.json. */
export type PreTokenizerJson = Record<string, unknown>

const byteLevel = (use_regex: boolean): PreTokenizerJson => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex,
})

const split = (Regex: string): PreTokenizerJson => ({
  type: 'Split',
  pattern: { Regex },
  behavior: 'Isolated',
  invert: false,
})

const inTurn = (...patterns: string[]): PreTokenizerJson => ({
  type: 'Sequence',
  pretokenizers: [...patterns.map(split), byteLevel(false)],
})

const contractions = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const llama3 = `${contractions}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`
const upperWord = '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+'
const lowerWord = '[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*'

/** The first name of each rule is the one that is written. */
export const preTokenizers: Readonly<Record<string, PreTokenizerJson>> = {
  'gpt-2': byteLevel(true),
  olmo: byteLevel(true),
  'llama-bpe': inTurn(llama3),
  qwen2: inTurn(llama3.replace('\\p{N}{1,3}', '\\p{N}')),
  'gpt-4o': inTurn(
    `${upperWord}${contractions}?|${lowerWord}${contractions}?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`,
  ),
  'deepseek-v3': inTurn(
    '\\p{N}{1,3}',
    '[一-龥぀-ゟ゠-ヿ]+',
    '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+',
  ),
}

/** The name of a pre_tokenizer; undefined for one that has none here. */
export function preTokenizerName(json: unknown): string | undefined {
  const wanted = patternsOf(json)
  return Object.entries(preTokenizers).find(([, known]) => patternsOf(known) === wanted)?.[0]
}

/** What a pre_tokenizer does, in a form that ignores how it is written down. */
function patternsOf(json: unknown): string {
  const { type, pretokenizers, pattern, use_regex, add_prefix_space } = (json ?? {}) as {
    type?: string
    pretokenizers?: unknown[]
    pattern?: { Regex?: string }
    use_regex?: boolean
    add_prefix_space?: boolean
  }
  if (type === 'Sequence') return (pretokenizers ?? []).map(patternsOf).join(' ; ')
  if (type === 'Split') return `split ${pattern?.Regex}`
  return `${type} ${use_regex ?? true} ${add_prefix_space ?? true}`
}
