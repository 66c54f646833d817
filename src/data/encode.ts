// From selected documents to token shards and their counts.

import type { DomainCounts, ShardEntry, SplitName } from './corpus-manifest.ts'
import { ShardWriter } from './corpus-writer.ts'
import type { DocumentStore, StoredDocument } from './document-store.ts'
import { type Selection, sumBytes } from './select.ts'
import { TokenCounter } from './token-counts.ts'
import type { Tokenizer } from './tokenizer.ts'

/** Text to encode at once: enough to keep every core busy, little enough to show progress. */
const batchBytes = 1 << 20

export interface EncodeJob {
  /** Where the shards go. */
  folder: string
  store: DocumentStore
  selections: ReadonlyMap<string, Selection>
  tokenizer: Tokenizer
  /** Id that ends every document. */
  eos: number
  shardTokens: number
  onProgress: (fraction: number) => void
}

export interface Encoded {
  domains: DomainCounts[]
  shards: Record<SplitName, ShardEntry[]>
}

/** Writes the shards of both splits, domain by domain. */
export async function encodeDocuments(job: EncodeJob): Promise<Encoded> {
  const total = [...job.selections.values()].reduce(
    (sum, { train, validation }) => sum + sumBytes(train) + sumBytes(validation),
    0,
  )
  let done = 0
  const onBytes = (bytes: number): void => {
    done += bytes
    job.onProgress(done / total)
  }
  const train = await encodeSplit('train', job, onBytes)
  const validation = await encodeSplit('validation', job, onBytes)
  const domains = [...job.selections.keys()].map((name, index) => ({
    name,
    train: train.counters[index]!.counts,
    validation: validation.counters[index]!.counts,
  }))
  return { domains, shards: { train: train.shards, validation: validation.shards } }
}

async function encodeSplit(
  split: SplitName,
  { folder, store, selections, tokenizer, eos, shardTokens }: EncodeJob,
  onBytes: (bytes: number) => void,
): Promise<{ counters: TokenCounter[]; shards: ShardEntry[] }> {
  const { vocabSize } = tokenizer
  const writer = new ShardWriter({ folder, split, vocabSize, shardTokens })
  const counters: TokenCounter[] = []
  for (const selection of selections.values()) {
    const counter = new TokenCounter(vocabSize)
    for (const batch of batches(selection[split])) {
      const texts = batch.map(document => store.read(document))
      // Text of unknown origin may spell `</s>`: only real ends of documents are end-of-text tokens.
      const encoded = await tokenizer.encodeBatch(texts, { specials: 'text' })
      for (const [i, document] of batch.entries()) {
        const ids = [...encoded[i]!, eos]
        counter.add(ids, document.bytes)
        await writer.add(ids, counters.length, document.bytes)
      }
      onBytes(sumBytes(batch))
    }
    counters.push(counter)
  }
  return { counters, shards: await writer.finish() }
}

function* batches(documents: readonly StoredDocument[]): Generator<StoredDocument[]> {
  let batch: StoredDocument[] = []
  let bytes = 0
  for (const document of documents) {
    batch.push(document)
    bytes += document.bytes
    if (bytes < batchBytes) continue
    yield batch
    batch = []
    bytes = 0
  }
  if (batch.length > 0) yield batch
}
