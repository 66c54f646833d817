// Metadata of GGUF files: checked look-up by key, and the fields that all decoders share.

import { FormatError } from '../../../errors.ts'
import type { GgufMetadata, GgufValue } from '../../../formats/index.ts'
import type { DecoderConfig } from '../../stack/config.ts'

/** The metadata of a file, below its architecture's prefix or whole. */
export class MetadataReader {
  readonly file: string
  readonly architecture: string
  readonly #metadata: GgufMetadata
  readonly #tensors: readonly string[]

  /** @param tensors names of all tensors */
  constructor(file: string, metadata: GgufMetadata, tensors: readonly string[] = []) {
    this.file = file
    this.#tensors = tensors
    this.#metadata = metadata
    this.architecture = this.text('general.architecture')
  }

  /** Whether a tensor of such a name is there. */
  hasTensor(name: RegExp): boolean {
    return this.#tensors.some(tensor => name.test(tensor))
  }

  /** The number of `{architecture}.{key}`. */
  number(key: string): number {
    return this.numberOr(key, null) ?? this.#missing(this.#own(key))
  }

  numberOr<T>(key: string, otherwise: T): number | T {
    const value = this.#metadata.get(this.#own(key))
    if (value === undefined) return otherwise
    // Some files have a number for each layer; they can be read where all are the same.
    const numbers = value.type === 'array' ? new Set(value.value) : new Set([value.value])
    const [only] = numbers
    if (numbers.size === 1 && typeof only === 'number') return only
    return this.#wrong(this.#own(key), 'a number')
  }

  booleanOr<T>(key: string, otherwise: T): boolean | T {
    const value = this.#metadata.get(this.#own(key))?.value
    if (value === undefined) return otherwise
    return typeof value === 'boolean' ? value : this.#wrong(this.#own(key), 'true or false')
  }

  textOr<T>(key: string, otherwise: T): string | T {
    const value = this.#metadata.get(this.#own(key))?.value
    if (value === undefined) return otherwise
    return typeof value === 'string' ? value : this.#wrong(this.#own(key), 'text')
  }

  /** Text under a full key. */
  text(key: string): string {
    const value = this.#metadata.get(key)?.value
    if (value === undefined) return this.#missing(key)
    return typeof value === 'string' ? value : this.#wrong(key, 'text')
  }

  /** A value under a full key, of whatever type. */
  value(key: string): GgufValue | undefined {
    return this.#metadata.get(key)
  }

  /** A number under a full key, null when it is not there. */
  id(key: string): number | null {
    const value = this.#metadata.get(key)?.value
    return typeof value === 'number' ? value : null
  }

  #own(key: string): string {
    return `${this.architecture}.${key}`
  }

  #missing(key: string): never {
    throw new FormatError(`metadata '${key}' is missing`, { file: this.file })
  }

  #wrong(key: string, wanted: string): never {
    throw new FormatError(`metadata '${key}' is not ${wanted}`, { file: this.file })
  }
}

/** The part of config.json that all decoders share, under HF's names. */
export function decoderFields(meta: MetadataReader, tied: boolean): Record<string, unknown> {
  return {
    hidden_size: meta.number('embedding_length'),
    intermediate_size: meta.number('feed_forward_length'),
    num_hidden_layers: meta.number('block_count'),
    num_attention_heads: meta.number('attention.head_count'),
    num_key_value_heads: meta.numberOr('attention.head_count_kv', undefined),
    head_dim: meta.numberOr('attention.key_length', undefined),
    max_position_embeddings: meta.number('context_length'),
    rms_norm_eps: meta.number('attention.layer_norm_rms_epsilon'),
    rope_theta: meta.numberOr('rope.freq_base', 10_000),
    rope_scaling: ropeRule(meta),
    sliding_window: meta.numberOr('attention.sliding_window', null),
    tie_word_embeddings: tied,
    bos_token_id: meta.id('tokenizer.ggml.bos_token_id'),
    eos_token_id: meta.id('tokenizer.ggml.eos_token_id'),
    pad_token_id: meta.id('tokenizer.ggml.padding_token_id'),
  }
}

function ropeRule(meta: MetadataReader): Record<string, unknown> | null {
  const rope_type = meta.textOr('rope.scaling.type', 'none')
  if (rope_type === 'none') return null
  return {
    rope_type,
    factor: meta.number('rope.scaling.factor'),
    original_max_position_embeddings: meta.numberOr('rope.scaling.original_context_length', undefined),
  }
}

/** Metadata under `{architecture}.` with the types that llama.cpp expects. */
export class MetadataWriter {
  readonly entries: GgufMetadata = new Map()
  readonly #architecture: string

  constructor(architecture: string) {
    this.#architecture = architecture
    this.entries.set('general.architecture', { type: 'string', value: architecture })
  }

  u32(key: string, value: number): void {
    this.entries.set(`${this.#architecture}.${key}`, { type: 'u32', value })
  }

  f32(key: string, value: number): void {
    this.entries.set(`${this.#architecture}.${key}`, { type: 'f32', value })
  }

  bool(key: string, value: boolean): void {
    this.entries.set(`${this.#architecture}.${key}`, { type: 'bool', value })
  }

  text(key: string, value: string): void {
    this.entries.set(`${this.#architecture}.${key}`, { type: 'string', value })
  }
}

/** What decoderFields() reads. */
export function writeDecoderFields(to: MetadataWriter, config: DecoderConfig): void {
  to.u32('vocab_size', config.vocab_size)
  to.u32('context_length', config.max_position_embeddings)
  to.u32('embedding_length', config.hidden_size)
  to.u32('block_count', config.num_hidden_layers)
  to.u32('feed_forward_length', config.intermediate_size)
  to.u32('attention.head_count', config.num_attention_heads)
  to.u32('attention.head_count_kv', config.num_key_value_heads)
  to.f32('attention.layer_norm_rms_epsilon', config.rms_norm_eps)
  to.f32('rope.freq_base', config.rope_theta)
  if (config.sliding_window !== null) to.u32('attention.sliding_window', config.sliding_window)
  writeRope(to, config)
}

function writeRope(to: MetadataWriter, { rope_scaling: scaling }: DecoderConfig): void {
  if (scaling.rope_type === 'default') return
  to.text('rope.scaling.type', scaling.rope_type)
  to.f32('rope.scaling.factor', scaling.factor)
  if ('original_max_position_embeddings' in scaling)
    to.u32('rope.scaling.original_context_length', scaling.original_max_position_embeddings)
}
