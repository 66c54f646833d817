// From text to a corpus: read, clean, choose, train a tokenizer, encode, write.

import { ConfigError } from '../errors.ts'
import { type Corpus, openCorpus } from './corpus.ts'
import { CorpusFolder } from './corpus-folder.ts'
import { defaultShardTokens } from './corpus-writer.ts'
import type { SourceProgress, TextSource } from './document.ts'
import { DocumentStore } from './document-store.ts'
import { encodeDocuments } from './encode.ts'
import { ingest } from './ingest.ts'
import { type Selection, selectDocuments } from './select.ts'
import type { Tokenizer } from './tokenizer.ts'
import { makeTokenizer, type TokenizerChoice } from './tokenizer-choice.ts'

/** What prepareCorpus is doing. */
export interface PrepareProgress {
  stage: 'read' | 'train tokenizer' | 'encode'
  /** How far the stage is, where that is known. */
  fraction: number | undefined
  text: string
}

export interface PrepareOptions {
  /** Folder of the corpus; made when missing. */
  out: string
  source: TextSource
  /** Default: byte-level BPE of 4096 tokens, trained on the training split. */
  tokenizer?: TokenizerChoice
  /** Special tokens that the tokenizer gets beside its own, as `<extra_id_0>`. Default: none. */
  specialTokens?: readonly string[]
  /** Most UTF-8 bytes to take of each domain. Default: everything. */
  size?: number
  /** Share of each domain's bytes for validation. Default: 0.02. */
  validation?: number
  /** Decides which documents are taken and which are held out. Default: 1. */
  seed?: number
  /** Replace a corpus that is there. */
  force?: boolean
  /** Most tokens of a shard. */
  shardTokens?: number
  onProgress?: (progress: PrepareProgress) => void
  /** Aborting ends the preparation with the signal's reason and removes what it has written. */
  signal?: AbortSignal
}

/** Text that the tokenizer is trained on: more changes little and takes long. */
const tokenizerBytes = 32e6

/**
 * Prepares a corpus and opens it. The same source, options and seed give the same files. Until it returns, the folder
 * is no corpus, or still the old one.
 */
export async function prepareCorpus(options: PrepareOptions): Promise<Corpus> {
  const { out, source, signal } = options
  const onProgress = (progress: PrepareProgress): void => {
    signal?.throwIfAborted()
    options.onProgress?.(progress)
  }
  const { size, validation, seed, shardTokens } = checkedNumbers(options)
  using folder = new CorpusFolder(out, { force: options.force ?? false })
  using store = new DocumentStore(folder.storeFile)

  const onRead: SourceProgress = (fraction, text) => onProgress({ stage: 'read', fraction, text })
  const { documents, cleaning } = await ingest(source, store, { onProgress: onRead, signal })
  const selections = new Map(
    [...documents].map(([domain, list]) => [domain, selectDocuments(list, { size, validation, seed })]),
  )

  onProgress({ stage: 'train tokenizer', fraction: undefined, text: 'training the tokenizer' })
  const choice = options.tokenizer ?? { kind: 'bpe', vocabSize: 4096 }
  const texts = textsForTokenizer(selections, store)
  const { specialTokens } = options
  const tokenizer = await makeTokenizer(choice, folder.files, { texts, specialTokens, signal })

  const encoded = await encodeDocuments({
    folder: folder.files,
    store,
    selections,
    tokenizer,
    eos: endOfText(tokenizer),
    shardTokens,
    onProgress: fraction => onProgress({ stage: 'encode', fraction, text: 'encoding' }),
  })
  const { vocabSize } = tokenizer
  const origins = source.origins()
  folder.install({ format: 'switchyard-corpus', version: 1, seed, vocabSize, ...encoded, origins, cleaning })
  return openCorpus(out)
}

function checkedNumbers({
  size = Number.POSITIVE_INFINITY,
  validation = 0.02,
  seed = 1,
  shardTokens = defaultShardTokens,
}: PrepareOptions): { size: number; validation: number; seed: number; shardTokens: number } {
  const demand = (holds: boolean, path: string, rule: string, value: number): void => {
    if (!holds) throw new ConfigError(`must be ${rule}, got ${value}`, { path })
  }
  demand(size >= 1, 'size', 'at least 1 byte', size)
  demand(validation >= 0 && validation <= 0.5, 'validation', 'a share from 0 to 0.5', validation)
  demand(Number.isSafeInteger(seed), 'seed', 'an integer', seed)
  demand(shardTokens >= 1, 'shardTokens', 'at least 1', shardTokens)
  return { size, validation, seed, shardTokens }
}

/** An equal share of each domain's training text, so that no domain shapes the vocabulary alone. */
function* textsForTokenizer(
  selections: ReadonlyMap<string, Selection>,
  store: DocumentStore,
): Generator<string> {
  for (const { train } of selections.values()) {
    let left = tokenizerBytes / selections.size
    for (const document of train) {
      if (left <= 0) break
      left -= document.bytes
      yield store.read(document)
    }
  }
}

function endOfText(tokenizer: Tokenizer): number {
  const { eos } = tokenizer.specialIds
  if (eos !== undefined) return eos
  throw new ConfigError('this tokenizer has no end-of-text token, which must end every document', {
    path: 'tokenizer',
  })
}
