// Byte-level vocabularies: how they spell bytes, and the tokenizer.json of the ones we make.

import type { MergeList } from './tokenizer-train.ts'

/** Special tokens of the tokenizers made here, in the order of their ids. */
export const specialTokens = ['<pad>', '<s>', '</s>'] as const

/** Ids that every byte-level vocabulary of ours has: the special tokens, then one per byte. */
export const smallestVocabulary = specialTokens.length + 256

/**
 * The character that stands for each byte: itself where it prints, else the next free one from U+0100 on (GPT-2,
 * encoder.py, bytes_to_unicode).
 */
export const byteCharacters: readonly string[] = Array.from({ length: 256 }, (_, byte) =>
  String.fromCharCode(prints(byte) ? byte : 256 + unprintableBefore(byte)),
)

function prints(byte: number): boolean {
  return (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad)
}

function unprintableBefore(byte: number): number {
  let count = 0
  for (let other = 0; other < byte; other++) if (!prints(other)) count++
  return count
}

const byteOf = new Map(byteCharacters.map((character, byte) => [character, byte]))

/** The bytes a byte-level token stands for; tokens with other characters (added ones) stand for themselves. */
export function tokenBytes(token: string): Uint8Array {
  const bytes = Array.from(token, character => byteOf.get(character))
  return bytes.every(byte => byte !== undefined) ? Uint8Array.from(bytes) : Buffer.from(token)
}

/** A Hugging Face tokenizer.json: special tokens first, then the bytes, then what the merges make, up to `size`. */
export function byteLevelTokenizerJson(merges: MergeList = [], size = smallestVocabulary): string {
  const vocabulary = new Map([...specialTokens, ...byteCharacters].map((token, id) => [token, id]))
  const kept: [string, string][] = []
  for (const [left, right] of merges) {
    const token = left + right
    if (!vocabulary.has(token)) {
      if (vocabulary.size >= size) break
      vocabulary.set(token, vocabulary.size)
    }
    kept.push([left, right])
  }
  const json = { ...frame, model: { ...bpe, vocab: Object.fromEntries(vocabulary), merges: kept } }
  return `${JSON.stringify(json, undefined, 1)}\n`
}

/** tokenizer_config.json beside it, from which Hugging Face's libraries know what the special tokens are for. */
export const tokenizerConfigJson = `${JSON.stringify(
  {
    tokenizer_class: 'PreTrainedTokenizerFast',
    pad_token: specialTokens[0],
    bos_token: specialTokens[1],
    eos_token: specialTokens[2],
    clean_up_tokenization_spaces: false,
  },
  undefined,
  2,
)}\n`

const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }

const frame = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: specialTokens.map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  })),
  normalizer: null,
  pre_tokenizer: byteLevel,
  post_processor: byteLevel,
  decoder: byteLevel,
}

const bpe = {
  type: 'BPE',
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
  ignore_merges: false,
}
