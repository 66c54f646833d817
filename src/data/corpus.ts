// A prepared corpus, opened: which bytes of which files hold the tokens, and what they came from.

import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DataError, FormatError } from '../errors.ts'
import { sha256 } from '../files.ts'
import { readSafetensorsHeader, type SafetensorsDType, type TensorEntry } from '../formats/index.ts'
import {
  type CorpusManifest,
  manifestName,
  readManifest,
  replaceHint,
  type ShardEntry,
  type SplitCounts,
  type SplitName,
  tokenizerName,
} from './corpus-manifest.ts'
import { tokenDType } from './corpus-writer.ts'
import { lastAtMost } from './windows.ts'

/** The bytes of a file that hold a shard's tokens, for a memory map. */
export interface TokenRange {
  dtype: 'I16' | 'I32'
  /** First byte, from the start of the file. */
  offset: number
  /** Length in bytes. */
  length: number
}

/** What the shards of a corpus have in common. */
export interface ShardForm {
  dtype: TokenRange['dtype']
  /** Whether they say which tokens are to be learnt. */
  hasAnswers: boolean
}

/** One file of tokens. */
export class CorpusShard {
  readonly file: string
  /** How many tokens it holds. */
  readonly tokens: number
  readonly tokenRange: TokenRange
  /** The bytes that mark which tokens are to be learnt, one each; null where all are. */
  readonly taughtRange: Omit<TokenRange, 'dtype'> | null
  readonly #entries: Map<string, TensorEntry>
  #starts: number[] | undefined
  #domains: number[] | undefined

  constructor(file: string, entry: ShardEntry, { dtype, hasAnswers }: ShardForm) {
    this.file = file
    this.tokens = entry.tokens
    this.#entries = checkedEntries(file, entry, { dtype, hasAnswers })
    const { offset, length } = this.#entries.get('tokens')!
    this.tokenRange = { dtype, offset, length }
    const marks = hasAnswers ? this.#entries.get('taught') : undefined
    this.taughtRange = marks ? { offset: marks.offset, length: marks.length } : null
  }

  /** Where each document begins, ascending from 0. Read from the file when first asked for. */
  get documentStarts(): readonly number[] {
    this.#starts ??= this.#read('document_starts')
    return this.#starts
  }

  /** Index of each document's domain. */
  get documentDomains(): readonly number[] {
    this.#domains ??= this.#read('document_domains')
    return this.#domains
  }

  /** Index of the domain that the token at `offset` belongs to. */
  domainAt(offset: number): number {
    if (offset < 0 || offset >= this.tokens) {
      throw new RangeError(`token ${offset} is not one of ${this.tokens} in ${this.file}`)
    }
    return this.documentDomains[lastAtMost(this.documentStarts, offset)]!
  }

  #read(name: string): number[] {
    return readIntegers(this.file, this.#entries.get(name)!)
  }
}

/** The shards of one split, as one long sequence of tokens. */
export class CorpusSplit {
  readonly name: SplitName
  readonly shards: readonly CorpusShard[]
  /** Counts of each domain, in the order of {@link Corpus.domains}. */
  readonly counts: readonly SplitCounts[]
  /** How many tokens the shards hold together. */
  readonly tokens: number

  constructor(name: SplitName, shards: readonly CorpusShard[], counts: readonly SplitCounts[]) {
    this.name = name
    this.shards = shards
    this.counts = counts
    this.tokens = shards.reduce((sum, shard) => sum + shard.tokens, 0)
  }
}

/** What {@link openCorpus} gives. */
export interface Corpus {
  readonly folder: string
  readonly manifest: CorpusManifest
  readonly tokenizerFile: string
  readonly vocabSize: number
  /** Names of the domains; other parts refer to them by index. */
  readonly domains: readonly string[]
  readonly train: CorpusSplit
  readonly validation: CorpusSplit
}

/** Whether a folder holds a corpus, be it damaged. */
export const isCorpus = (folder: string): boolean => existsSync(join(folder, manifestName))

/** Opens a folder that `prepareCorpus` made. Reads headers only; throws DataError when anything is amiss. */
export function openCorpus(folder: string): Corpus {
  const manifest = readManifest(folder)
  const tokenizerFile = join(folder, tokenizerName)
  try {
    statSync(tokenizerFile)
    return {
      folder,
      manifest,
      tokenizerFile,
      vocabSize: manifest.vocabSize,
      domains: manifest.domains.map(domain => domain.name),
      train: openSplit(folder, manifest, 'train'),
      validation: openSplit(folder, manifest, 'validation'),
    }
  } catch (cause) {
    const missing =
      (cause as NodeJS.ErrnoException).code === 'ENOENT' ? `${tokenizerFile} is missing` : undefined
    if (missing === undefined && !(cause instanceof FormatError)) throw cause
    throw new DataError(`${missing ?? (cause as Error).message}; ${replaceHint(folder)}`, { cause })
  }
}

/** Reads every shard and compares its checksum. Throws DataError when one has changed. */
export async function verifyCorpus(
  corpus: Corpus,
  onProgress: (fraction: number, file: string) => void = () => {},
): Promise<void> {
  const shards = [...corpus.manifest.shards.train, ...corpus.manifest.shards.validation]
  const total = shards.reduce((sum, shard) => sum + shard.bytes, 0)
  let done = 0
  for (const shard of shards) {
    onProgress(done / total, shard.file)
    if ((await sha256(join(corpus.folder, shard.file))) !== shard.sha256) {
      throw new DataError(
        `${join(corpus.folder, shard.file)} has changed since it was written; ${replaceHint(corpus.folder)}`,
      )
    }
    done += shard.bytes
  }
}

function openSplit(folder: string, manifest: CorpusManifest, name: SplitName): CorpusSplit {
  const form = { dtype: tokenDType(manifest.vocabSize), hasAnswers: manifest.answers !== undefined }
  const shards = manifest.shards[name].map(entry => new CorpusShard(join(folder, entry.file), entry, form))
  return new CorpusSplit(
    name,
    shards,
    manifest.domains.map(domain => domain[name]),
  )
}

/** The header must hold the tensors that the manifest promises, of these types and lengths. */
function checkedEntries(
  file: string,
  { tokens, documents }: ShardEntry,
  { dtype, hasAnswers }: ShardForm,
): Map<string, TensorEntry> {
  const { tensors } = readSafetensorsHeader(file)
  const expected: (readonly [string, SafetensorsDType, number])[] = [
    ['tokens', dtype, tokens],
    ['document_starts', 'I64', documents],
    ['document_domains', 'I32', documents],
    ['document_bytes', 'I64', documents],
    ...(hasAnswers ? ([['taught', 'U8', tokens]] as const) : []),
  ]
  for (const [name, type, length] of expected) {
    const entry = tensors.get(name)
    if (entry?.dtype !== type || entry.shape.length !== 1 || entry.shape[0] !== length) {
      throw new FormatError(`tensor '${name}' is not the ${type} [${length}] that the manifest promises`, {
        file,
      })
    }
  }
  return tensors
}

function readIntegers(file: string, { dtype, offset, length }: TensorEntry): number[] {
  const bytes = Buffer.alloc(length)
  const descriptor = openSync(file, 'r')
  try {
    if (readSync(descriptor, bytes, 0, length, offset) !== length) {
      throw new FormatError('was truncated while it was open', { file })
    }
  } finally {
    closeSync(descriptor)
  }
  if (dtype === 'I64')
    return Array.from(new BigInt64Array(bytes.buffer, bytes.byteOffset, length / 8), Number)
  return Array.from(new Int32Array(bytes.buffer, bytes.byteOffset, length / 4))
}
