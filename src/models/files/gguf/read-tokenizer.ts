// GGUF metadata as a tokenizer.json.

import { parseTokenizer, type Tokenizer } from '../../../data/index.ts'
import { FormatError } from '../../../errors.ts'
import { type GgufMetadata, readGgufHeader, type Scalar } from '../../../formats/index.ts'
import { preTokenizers } from './pre-tokenizers.ts'
import { type AddedToken, tokenTypes } from './tokenizer-json.ts'

/**
 * The tokenizer of a GGUF file (the first, of a split model).
 *
 * @throws FormatError when it has none, or one of a kind that is not known
 */
export function ggufTokenizer(file: string): Tokenizer {
  const { metadata } = readGgufHeader(file)
  const ids = {
    bos: numberAt(metadata, 'tokenizer.ggml.bos_token_id'),
    eos: numberAt(metadata, 'tokenizer.ggml.eos_token_id'),
    pad: numberAt(metadata, 'tokenizer.ggml.padding_token_id'),
  }
  return parseTokenizer(JSON.stringify(tokenizerJson(metadata, file)), file, ids)
}

/** The files of a Hugging Face folder that a GGUF file's tokenizer stands for; null where it has none. */
export function ggufTokenizerFiles(file: string): Record<string, string> | null {
  const { metadata } = readGgufHeader(file)
  if ((metadata.get('tokenizer.ggml.model')?.value ?? 'none') === 'none') return null
  const tokens = arrayAt<string>(metadata, 'tokenizer.ggml.tokens', 'string', file)
  const named = (role: string): string | undefined => {
    const id = numberAt(metadata, `tokenizer.ggml.${role}_token_id`)
    return id === undefined ? undefined : tokens[id]
  }
  const roles = {
    bos_token: named('bos'),
    eos_token: named('eos'),
    pad_token: named('padding'),
    unk_token: named('unknown'),
  }
  const config = { tokenizer_class: 'PreTrainedTokenizerFast', ...roles }
  return {
    'tokenizer.json': `${JSON.stringify(tokenizerJson(metadata, file), null, 1)}\n`,
    'tokenizer_config.json': `${JSON.stringify(config, null, 2)}\n`,
  }
}

/** The chat template of a GGUF file; null: none. */
export function ggufChatTemplate(file: string): string | null {
  const value = readGgufHeader(file).metadata.get('tokenizer.chat_template')?.value
  return typeof value === 'string' ? value : null
}

function tokenizerJson(metadata: GgufMetadata, file: string): Record<string, unknown> {
  const kind = metadata.get('tokenizer.ggml.model')?.value
  const tokens = arrayAt<string>(metadata, 'tokenizer.ggml.tokens', 'string', file)
  const types = metadata.has('tokenizer.ggml.token_type')
    ? arrayAt<number>(metadata, 'tokenizer.ggml.token_type', 'number', file)
    : []
  const shared = {
    version: '1.0',
    added_tokens: addedTokens(tokens, types),
    post_processor: postProcessor(metadata, tokens),
  }
  if (kind === 'gpt2') return { ...shared, ...bytePairs(metadata, tokens, file) }
  if (kind === 'llama') return { ...shared, ...characterPairs(metadata, tokens, types, file) }
  throw new FormatError(
    `tokenizer.ggml.model ${JSON.stringify(kind)} cannot be read; gpt2 and llama can. Give a tokenizer.json, or token ids`,
    { file },
  )
}

function addedTokens(tokens: readonly string[], types: readonly number[]): AddedToken[] {
  return tokens.flatMap((content, id) => {
    const type = types[id]
    if (type !== tokenTypes.control && type !== tokenTypes.userDefined && type !== tokenTypes.unknown)
      return []
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false }
    return [{ id, content, ...flags, special: type !== tokenTypes.userDefined }]
  })
}

function bytePairs(metadata: GgufMetadata, tokens: readonly string[], file: string): Record<string, unknown> {
  const pre = metadata.get('tokenizer.ggml.pre')?.value ?? 'gpt-2'
  const pre_tokenizer =
    typeof pre === 'string' && Object.hasOwn(preTokenizers, pre) ? preTokenizers[pre] : undefined
  if (!pre_tokenizer) {
    throw new FormatError(
      `tokenizer.ggml.pre ${JSON.stringify(pre)} is not one of ${Object.keys(preTokenizers).join(', ')}: texts would be cut otherwise. Give the model's tokenizer.json`,
      { file },
    )
  }
  const merges = arrayAt<string>(metadata, 'tokenizer.ggml.merges', 'string', file)
  return {
    pre_tokenizer,
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: bpe(tokens, merges, { byte_fallback: false }),
  }
}

/** SentencePiece's BPE: spaces are U+2581, and the pair whose token scores highest is merged first. */
function characterPairs(
  metadata: GgufMetadata,
  tokens: readonly string[],
  types: readonly number[],
  file: string,
): Record<string, unknown> {
  const scores = arrayAt<number>(metadata, 'tokenizer.ggml.scores', 'number', file)
  const space = '\u2581'
  const addsSpace = metadata.get('tokenizer.ggml.add_space_prefix')?.value !== false
  return {
    normalizer: {
      type: 'Sequence',
      normalizers: [
        ...(addsSpace ? [{ type: 'Prepend', prepend: space }] : []),
        { type: 'Replace', pattern: { String: ' ' }, content: space },
      ],
    },
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: space }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(addsSpace ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: bpe(tokens, mergesByScore(tokens, scores, types), {
      byte_fallback: true,
      fuse_unk: true,
      unk_token: tokens[types.indexOf(tokenTypes.unknown)] ?? null,
    }),
  }
}

function bpe(tokens: readonly string[], merges: readonly string[], rest: object): Record<string, unknown> {
  const vocab = Object.fromEntries(tokens.map((token, id) => [token, id]))
  return {
    type: 'BPE',
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    ignore_merges: false,
    ...rest,
    vocab,
    merges,
  }
}

/** Every way to make a normal token of two others, best token first, as `left right`. */
function mergesByScore(
  tokens: readonly string[],
  scores: readonly number[],
  types: readonly number[],
): string[] {
  const known = new Set(tokens.filter((_, id) => (types[id] ?? tokenTypes.normal) === tokenTypes.normal))
  const order = [...tokens.keys()].sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b)
  return order.flatMap(id => {
    const characters = [...(tokens[id] ?? '')]
    if (!known.has(tokens[id] ?? '')) return []
    return characters.slice(1).flatMap((_, at) => {
      const [left, right] = [characters.slice(0, at + 1).join(''), characters.slice(at + 1).join('')]
      return known.has(left) && known.has(right) ? [`${left} ${right}`] : []
    })
  })
}

/** Puts the begin token before a text, where the file says so; llama's does unless it says otherwise. */
function postProcessor(metadata: GgufMetadata, tokens: readonly string[]): unknown {
  const bos = numberAt(metadata, 'tokenizer.ggml.bos_token_id')
  const isLlama = metadata.get('tokenizer.ggml.model')?.value === 'llama'
  const adds = metadata.get('tokenizer.ggml.add_bos_token')?.value ?? isLlama
  const token = bos === undefined ? undefined : tokens[bos]
  if (!adds || token === undefined) return null
  const text = (id: 'A' | 'B', type_id: number) => ({ Sequence: { id, type_id } })
  const begin = (type_id: number) => ({ SpecialToken: { id: token, type_id } })
  return {
    type: 'TemplateProcessing',
    single: [begin(0), text('A', 0)],
    pair: [begin(0), text('A', 0), begin(1), text('B', 1)],
    special_tokens: { [token]: { id: token, ids: [bos], tokens: [token] } },
  }
}

function numberAt(metadata: GgufMetadata, key: string): number | undefined {
  const value = metadata.get(key)?.value
  return typeof value === 'number' ? value : undefined
}

function arrayAt<T extends Scalar>(metadata: GgufMetadata, key: string, of: string, file: string): T[] {
  const value = metadata.get(key)?.value
  if (Array.isArray(value) && value.every(item => typeof item === of)) return value as T[]
  throw new FormatError(`metadata '${key}' is not a list of ${of}s`, { file })
}
