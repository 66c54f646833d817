// A tokenizer.json as GGUF metadata.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { SpecialIds } from '../../../data/index.ts'
import { loadTokenizer } from '../../../data/index.ts'
import { ConfigError } from '../../../errors.ts'
import { type GgufMetadata, readGgufHeader } from '../../../formats/index.ts'
import { chatTemplateOf } from '../chat-template.ts'
import { readJson } from '../folder.ts'
import { isGgufFile } from './open.ts'
import { preTokenizerName } from './pre-tokenizers.ts'
import { type TokenizerJson, tokenTypes } from './tokenizer-json.ts'

/** What files without a tokenizer say; they can be used with token ids alone. */
export const noTokenizer: GgufMetadata = new Map([
  ['tokenizer.ggml.model', { type: 'string', value: 'none' }],
])

/**
 * Metadata of the tokenizer of a model folder or GGUF file; noTokenizer where there is none.
 *
 * @param path a GGUF file's own metadata are taken as they are
 * @param vocabSize rows of the model's embedding; tokens that the tokenizer does not have are unused
 * @throws ConfigError for a kind of tokenizer that GGUF has no name for
 */
export function tokenizerMetadata(path: string, vocabSize: number): GgufMetadata {
  return isGgufFile(path) ? ownMetadata(path) : folderMetadata(path, vocabSize)
}

function ownMetadata(file: string): GgufMetadata {
  const entries = [...readGgufHeader(file).metadata].filter(([key]) => key.startsWith('tokenizer.'))
  return entries.length > 0 ? new Map(entries) : noTokenizer
}

function folderMetadata(folder: string, vocabSize: number): GgufMetadata {
  const file = join(folder, 'tokenizer.json')
  if (!existsSync(file)) return noTokenizer
  const json = readJson(file) as TokenizerJson
  const { specialIds } = loadTokenizer(file)
  const kind = kindOf(json, file)
  const template = chatTemplateOf(folder)
  return new Map([
    ['tokenizer.ggml.model', { type: 'string', value: kind.model }],
    ['tokenizer.ggml.pre', { type: 'string', value: kind.pre }],
    ...vocabulary(json, kind, vocabSize),
    ...special(specialIds, json),
    ...(template === null
      ? []
      : ([['tokenizer.chat_template', { type: 'string', value: template }]] as const)),
  ])
}

/** `gpt2` merges bytes, `llama` merges characters and falls back to bytes. */
interface Kind {
  model: 'gpt2' | 'llama'
  pre: string
}

function kindOf({ model, pre_tokenizer }: TokenizerJson, file: string): Kind {
  if (model.type !== 'BPE')
    throw new ConfigError(`a ${model.type} tokenizer cannot be stored in GGUF; BPE can`, { path: file })
  if (model.byte_fallback) return { model: 'llama', pre: 'default' }
  const pre = preTokenizerName(pre_tokenizer)
  if (pre) return { model: 'gpt2', pre }
  throw new ConfigError(
    'cuts texts by rules that llama.cpp has no name for, so that it would tokenize otherwise: convert without the tokenizer (--no-tokenizer)',
    { path: file },
  )
}

function vocabulary(json: TokenizerJson, kind: Kind, vocabSize: number): GgufMetadata {
  const tokens = Array.from({ length: vocabSize }, (_, id) => `[PAD${id}]`)
  const types = new Array<number>(vocabSize).fill(tokenTypes.unused)
  for (const [token, id] of Object.entries(json.model.vocab)) {
    tokens[id] = token
    types[id] = typeOf(token, json, kind)
  }
  for (const { id, content, special } of json.added_tokens ?? []) {
    tokens[id] = content
    types[id] = special ? tokenTypes.control : tokenTypes.userDefined
  }
  const merges = json.model.merges.map(merge => (typeof merge === 'string' ? merge : merge.join(' ')))
  const base: GgufMetadata = new Map([
    ['tokenizer.ggml.tokens', { type: 'array', of: 'string', value: tokens }],
    ['tokenizer.ggml.token_type', { type: 'array', of: 'i32', value: types }],
  ])
  if (kind.model === 'gpt2') base.set('tokenizer.ggml.merges', { type: 'array', of: 'string', value: merges })
  else base.set('tokenizer.ggml.scores', { type: 'array', of: 'f32', value: scoresOf(tokens, merges) })
  return base
}

function typeOf(token: string, { model }: TokenizerJson, kind: Kind): number {
  if (token === model.unk_token) return tokenTypes.unknown
  const isByte = kind.model === 'llama' && /^<0x[0-9A-F]{2}>$/.test(token)
  return isByte ? tokenTypes.byte : tokenTypes.normal
}

/** llama.cpp merges the pair whose token scores highest: the earlier a merge, the higher its token. */
function scoresOf(tokens: readonly string[], merges: readonly string[]): number[] {
  const rank = new Map<string, number>()
  for (const [i, merge] of merges.entries()) {
    const token = merge.replace(' ', '')
    if (!rank.has(token)) rank.set(token, i)
  }
  return tokens.map(token => -(rank.get(token) ?? merges.length))
}

function special({ bos, eos, pad }: SpecialIds, json: TokenizerJson): GgufMetadata {
  const metadata: GgufMetadata = new Map()
  const unknown = json.model.unk_token == null ? undefined : json.model.vocab[json.model.unk_token]
  const ids = { bos, eos, unknown, padding: pad }
  for (const [role, id] of Object.entries(ids))
    if (id !== undefined) metadata.set(`tokenizer.ggml.${role}_token_id`, { type: 'u32', value: id })
  metadata.set('tokenizer.ggml.add_bos_token', { type: 'bool', value: addsBos(json, bos) })
  metadata.set('tokenizer.ggml.add_eos_token', { type: 'bool', value: false })
  return metadata
}

/** Whether the post-processor puts the begin token before a text. */
function addsBos(json: TokenizerJson, bos: number | undefined): boolean {
  const token = (json.added_tokens ?? []).find(({ id }) => id === bos)?.content
  return (
    token !== undefined && JSON.stringify(templatesOf(json.post_processor)).includes(JSON.stringify(token))
  )
}

function templatesOf(processor: unknown): unknown[] {
  const { type, single, processors } = (processor ?? {}) as {
    type?: string
    single?: unknown
    processors?: unknown[]
  }
  if (type === 'Sequence') return (processors ?? []).flatMap(templatesOf)
  return type === 'TemplateProcessing' ? [single] : []
}
