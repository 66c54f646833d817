// corpus.json: what a corpus holds. Written last, so that a folder without it is no corpus.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { commandLine } from '../command-line.ts'
import { ConfigError, DataError } from '../errors.ts'
import { writeDurably } from '../files.ts'
import { issueText } from '../schema-issue.ts'
import { domainPattern } from './document.ts'

const count = z.int().nonnegative()

const splitCounts = z.strictObject({
  documents: count,
  /** UTF-8 bytes of the text. */
  bytes: count,
  /** Tokens, one end-of-text token per document included. */
  tokens: count,
  /** Entropy of the token frequencies, in nats: the loss of a model that knows only how common tokens are. */
  unigramEntropy: z.number().nonnegative(),
})

const shard = z.strictObject({
  /** File name inside of the corpus folder. */
  file: z.string().regex(/^(train|validation)-\d{5}\.safetensors$/),
  tokens: count,
  documents: count,
  bytes: count,
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
})

const manifest = z.strictObject({
  format: z.literal('switchyard-corpus'),
  version: z.literal(1),
  seed: z.int(),
  /** One more than the tokenizer's largest id. */
  vocabSize: z.int().min(1),
  domains: z
    .array(
      z.strictObject({ name: z.string().regex(domainPattern), train: splitCounts, validation: splitCounts }),
    )
    .min(1),
  origins: z.array(
    z.strictObject({ name: z.string(), version: z.string().optional(), licence: z.string().optional() }),
  ),
  cleaning: z.strictObject({
    /** Characters U+FFFD, which stand for bytes that were not UTF-8. */
    replacedCharacters: count,
    duplicateParagraphs: count,
    duplicateBytes: count,
    shortDocuments: count,
    skippedFiles: count,
  }),
  shards: z.strictObject({ train: z.array(shard).min(1), validation: z.array(shard) }),
  /** Of a corpus of conversations: documents, and their tokens that are to be learnt. All of other corpora's are. */
  answers: z
    .strictObject({
      examples: count,
      tokens: count,
      /** Documents that belong together: 2 where the second of each two was rejected in favour of the first. */
      together: z.union([z.literal(1), z.literal(2)]),
    })
    .optional(),
})

export type CorpusManifest = z.infer<typeof manifest>
export type DomainCounts = CorpusManifest['domains'][number]
export type SplitCounts = z.infer<typeof splitCounts>
export type ShardEntry = z.infer<typeof shard>
export type SplitName = keyof CorpusManifest['shards']
export type CleaningCounts = CorpusManifest['cleaning']

/** Of text that is taken as it is. */
export const notCleaned: CleaningCounts = {
  replacedCharacters: 0,
  duplicateParagraphs: 0,
  duplicateBytes: 0,
  shortDocuments: 0,
  skippedFiles: 0,
}

export const manifestName = 'corpus.json'
export const tokenizerName = 'tokenizer.json'

const prepareCommand = (folder: string): string => `${commandLine()} data prepare --out ${folder}`

/** What to tell whoever has a corpus that is damaged. */
export const replaceHint = (folder: string): string =>
  `make it again with '${prepareCommand(folder)} --force'`

/** Writes the manifest so that it is there whole or not at all. */
export function writeManifest(folder: string, content: CorpusManifest): void {
  writeDurably(join(folder, manifestName), `${JSON.stringify(content, undefined, 2)}\n`)
}

export function readManifest(folder: string): CorpusManifest {
  const json = parseJson(readText(folder), folder)
  const parsed = manifest.safeParse(json)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const problem = issue ? `${issue.path.join('.') || 'the file'} ${issueText(issue, json)}` : ''
  throw new DataError(
    `${join(folder, manifestName)}: ${problem}; it is damaged or of another version: ${replaceHint(folder)}`,
  )
}

function readText(folder: string): string {
  try {
    return readFileSync(join(folder, manifestName), 'utf8')
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw cause
    const problem = `${folder} is not a corpus (it has no ${manifestName})`
    throw new ConfigError(`${problem}: make one with '${prepareCommand(folder)}'`, { path: '', cause })
  }
}

function parseJson(text: string, folder: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new DataError(`${join(folder, manifestName)} is damaged: ${replaceHint(folder)}`, { cause })
  }
}
