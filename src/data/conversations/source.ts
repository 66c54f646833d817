// Files of conversations: JSONL and Parquet, also packed.

import { basename } from 'node:path'
import { ConfigError } from '../../errors.ts'
import type { Origin } from '../document.ts'
import { checkDomain, domainOf, isJsonLines, isParquet, listFiles } from '../sources/files.ts'
import { readJsonLines, type ToRecord } from '../sources/json-lines.ts'
import { readParquet } from '../sources/parquet.ts'
import { type ExampleRecord, toExample } from './record.ts'

/** Whether files hold examples rather than text: all of them are JSONL or Parquet. */
export async function isExamples(paths: readonly string[]): Promise<boolean> {
  return (await listFiles(paths)).every(({ path }) => isJsonLines(path) || isParquet(path))
}

/** A record with its domain, its own or the name of what it was found under, and where it is: a file, and there as `line 3`. */
export type FoundRecord = ExampleRecord & { domain: string; file: string; place: string }

/** Where examples come from. */
export interface ExampleSource {
  /** The examples, the same each time. */
  records(onProgress: (fraction: number, text: string) => void): AsyncGenerator<FoundRecord>
  origins(): Origin[]
}

/** The conversations of files and folders as a source. */
export const exampleFiles = (paths: readonly string[]): ExampleSource => ({
  records: onProgress => readConversations(paths, onProgress),
  origins: () => paths.map(name => ({ name: basename(name) })),
})

const columns = {
  needed: [
    ['chosen', 'rejected'],
    ['messages'],
    ['conversations'],
    ['prompt', 'completion'],
    ['source', 'target'],
    ['translation'],
    ['text'],
  ],
  others: ['prompt', 'tools', 'domain', 'source_lang', 'target_lang'],
}

/**
 * The conversations of files and folders.
 *
 * @throws ConfigError for a file of another kind or what no domain is called, FormatError naming the line or row that is no conversation
 */
export async function* readConversations(
  paths: readonly string[],
  onProgress: (fraction: number, text: string) => void = () => {},
): AsyncGenerator<FoundRecord> {
  const files = await listFiles(paths)
  const total = files.reduce((sum, file) => sum + file.bytes, 0)
  let done = 0
  for (const { path, bytes, root } of files) {
    onProgress(done / total, `reading ${path}`)
    yield* recordsOf(path, foundIn(path, domainOf(root)))
    done += bytes
  }
}

const foundIn =
  (file: string, standard: string): ToRecord<FoundRecord> =>
  (value, place) => {
    const record = toExample(value)
    if (typeof record === 'string') return record
    const { domain = standard } = record
    checkDomain(domain, `${file}: ${place}`)
    return { ...record, domain, file, place }
  }

function recordsOf(path: string, toRecord: ToRecord<FoundRecord>): AsyncGenerator<FoundRecord> {
  if (isJsonLines(path)) return readJsonLines(path, toRecord)
  if (isParquet(path)) return readParquet(path, columns, toRecord)
  throw new ConfigError(
    `is neither JSONL nor Parquet, in which conversations are: name .jsonl or .parquet files`,
    {
      path,
    },
  )
}
