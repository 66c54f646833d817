// Token shards: safetensors files of packed tokens, with the documents' places, domains and sizes.

import { join } from 'node:path'
import { sha256 } from '../files.ts'
import { type TensorSource, writeSafetensors } from '../formats/index.ts'
import type { ShardEntry, SplitName } from './corpus-manifest.ts'

/** Most tokens in a shard: large enough that few windows are lost at ends, small enough to copy about. */
export const defaultShardTokens = 64_000_000

/** The integer type of a shard's tokens: 16 bits while every id fits. */
export const tokenDType = (vocabSize: number): 'I16' | 'I32' => (vocabSize <= 32_768 ? 'I16' : 'I32')

export interface ShardWriterOptions {
  folder: string
  split: SplitName
  vocabSize: number
  shardTokens: number
}

/** Writes the shards of one split, holding one in memory. A document never spans two. */
export class ShardWriter {
  readonly #options: ShardWriterOptions
  readonly #shards: ShardEntry[] = []
  #tokens: Int16Array | Int32Array
  #count = 0
  #starts: number[] = []
  #domains: number[] = []
  #bytes: number[] = []
  #taught: Uint8Array[] = []

  constructor(options: ShardWriterOptions) {
    this.#options = options
    this.#tokens = this.#allocate(1 << 16)
  }

  /**
   * Appends a document: its tokens, the index of its domain, and the UTF-8 bytes of its text.
   *
   * @param taught 1 for each token that is to be learnt; of all documents or of none. Default: all are, and no marks are kept
   */
  async add(ids: readonly number[], domain: number, bytes: number, taught?: Uint8Array): Promise<void> {
    if (this.#count > 0 && this.#count + ids.length > this.#options.shardTokens) await this.#writeShard()
    this.#reserve(this.#count + ids.length)
    this.#starts.push(this.#count)
    this.#domains.push(domain)
    this.#bytes.push(bytes)
    if (taught) this.#taught.push(taught)
    this.#tokens.set(ids, this.#count)
    this.#count += ids.length
  }

  /** Writes what is left and returns the list of shards. */
  async finish(): Promise<ShardEntry[]> {
    if (this.#count > 0) await this.#writeShard()
    return this.#shards
  }

  #allocate(length: number): Int16Array | Int32Array {
    return tokenDType(this.#options.vocabSize) === 'I16' ? new Int16Array(length) : new Int32Array(length)
  }

  #reserve(length: number): void {
    if (length <= this.#tokens.length) return
    const larger = this.#allocate(Math.max(length, this.#tokens.length * 2))
    larger.set(this.#tokens.subarray(0, this.#count))
    this.#tokens = larger
  }

  async #writeShard(): Promise<void> {
    const { folder, split } = this.#options
    const name = `${split}-${String(this.#shards.length).padStart(5, '0')}.safetensors`
    const path = join(folder, name)
    const bytes = writeSafetensors(path, this.#tensors(), { format: 'switchyard-tokens' })
    this.#shards.push({
      file: name,
      tokens: this.#count,
      documents: this.#starts.length,
      bytes,
      sha256: await sha256(path),
    })
    this.#count = 0
    this.#starts = []
    this.#domains = []
    this.#bytes = []
    this.#taught = []
  }

  #tensors(): TensorSource[] {
    const tokens = this.#tokens.subarray(0, this.#count)
    const documents = [this.#starts.length]
    return [
      {
        name: 'tokens',
        dtype: tokenDType(this.#options.vocabSize),
        shape: [this.#count],
        bytes: () => bytesOf(tokens),
      },
      {
        name: 'document_starts',
        dtype: 'I64',
        shape: documents,
        bytes: () => bytesOf(BigInt64Array.from(this.#starts, BigInt)),
      },
      {
        name: 'document_domains',
        dtype: 'I32',
        shape: documents,
        bytes: () => bytesOf(Int32Array.from(this.#domains)),
      },
      {
        name: 'document_bytes',
        dtype: 'I64',
        shape: documents,
        bytes: () => bytesOf(BigInt64Array.from(this.#bytes, BigInt)),
      },
      ...(this.#taught.length === 0 ? [] : [this.#marks()]),
    ]
  }

  #marks(): TensorSource {
    return { name: 'taught', dtype: 'U8', shape: [this.#count], bytes: () => Buffer.concat(this.#taught) }
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: NodeJS.TypedArray): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength)
}
