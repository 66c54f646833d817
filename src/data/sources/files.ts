// The user's own text: files and folders of plain text, JSONL and Parquet.

import { type Stats, statSync } from 'node:fs'
import { lstat, readdir } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { ConfigError, DataError } from '../../errors.ts'
import { isCorpus } from '../corpus.ts'
import {
  type Document,
  domainPattern,
  type Origin,
  type SkippedFile,
  type SourceProgress,
  type TextSource,
} from '../document.ts'
import { whyNotText } from './byte-stream.ts'
import { readJsonLines, type TextRecord, toTextRecord } from './json-lines.ts'
import { readParquet } from './parquet.ts'
import { readPlainText } from './plain-text.ts'

export interface FileSourceOptions {
  /** Files and folders; folders are read with everything in them except hidden files. */
  paths: readonly string[]
  /** Domain of text that names none itself. Default: the name of the folder, or of the file, in `paths`. */
  domain?: string
}

export interface TextFile {
  path: string
  bytes: number
  /** When it was changed last, in milliseconds. */
  changed: number
  /** The one of the given paths that it was found under. */
  root: string
}

/** Reads `.jsonl`, `.ndjson`, `.parquet` (a `text` and perhaps a `domain` each) and any other text; also `.gz`. */
export function fileSource({ paths, domain }: FileSourceOptions): TextSource {
  if (domain !== undefined) checkDomain(domain, 'domain')
  const skipped: SkippedFile[] = []

  async function* documents(onProgress: SourceProgress): AsyncGenerator<Document> {
    const files = await listFiles(paths)
    const total = files.reduce((sum, file) => sum + file.bytes, 0)
    let done = 0
    for (const file of files) {
      onProgress(done / total, `reading ${file.path}`)
      const reason = isPlain(file.path) ? await whyNotText(file.path) : undefined
      if (reason === undefined) yield* readDocuments(file, domain ?? domainOf(file.root))
      else if (file.path === file.root) throw new DataError(`${file.path} ${reason}; give files of text`)
      else skipped.push({ file: file.path, reason })
      done += file.bytes
    }
  }

  return {
    documents,
    origins: (): Origin[] => paths.map(name => ({ name })),
    skipped,
  }
}

const textColumns = { needed: [['text']], others: ['domain'] }

export const isJsonLines = (path: string): boolean => /\.(jsonl|ndjson)(\.gz|\.zst)?$/i.test(path)
export const isParquet = (path: string): boolean => /\.parquet$/i.test(path)
const isPlain = (path: string): boolean => !isJsonLines(path) && !isParquet(path)

/** `books/fr/` gives `fr`; `shakespeare.txt.gz` gives `shakespeare`. */
export function domainOf(path: string): string {
  const name = basename(resolve(path))
  return statSync(path).isDirectory() ? name : name.replace(/^(.+?)\..*$/, '$1')
}

async function* readDocuments(file: TextFile, domain: string): AsyncGenerator<Document> {
  const source =
    file.path === file.root ? basename(file.path) : relative(dirname(resolve(file.root)), resolve(file.path))
  for await (const { text, domain: own = domain } of readRecords(file.path)) {
    checkDomain(own, file.path)
    yield { text, domain: own, source }
  }
}

async function* readRecords(path: string): AsyncGenerator<TextRecord> {
  if (isJsonLines(path)) yield* readJsonLines(path, toTextRecord)
  else if (isParquet(path)) yield* readParquet(path, textColumns, toTextRecord)
  else for await (const text of readPlainText(path)) yield { text, domain: undefined }
}

/** @throws ConfigError for what no corpus can name a domain */
export function checkDomain(domain: string, path: string): void {
  if (domainPattern.test(domain)) return
  throw new ConfigError(
    `a domain has a name of 1 to 64 printable characters, got ${JSON.stringify(domain.slice(0, 80))}`,
    { path },
  )
}

/** The files under paths. @throws DataError for a path without any */
export async function listFiles(paths: readonly string[]): Promise<TextFile[]> {
  const files: TextFile[] = []
  for (const root of paths) {
    const before = files.length
    for await (const path of walk(root)) {
      const { size: bytes, mtimeMs: changed } = statSync(path)
      files.push({ path, bytes, changed, root })
    }
    if (files.length === before) throw new DataError(`${root} holds no files; give files or folders of text`)
  }
  return files
}

/** The regular files under a path, in alphabetical order. Links inside folders are not followed: they may loop. */
async function* walk(path: string, isRoot = true): AsyncGenerator<string> {
  const stat = isRoot ? statRoot(path) : await lstat(path)
  if (stat.isFile()) yield path
  if (!stat.isDirectory()) return
  for (const name of (await readdir(path)).sort()) {
    if (!name.startsWith('.')) yield* walk(join(path, name), false)
  }
}

function statRoot(path: string): Stats {
  const stat = statSync(path, { throwIfNoEntry: false })
  if (stat === undefined) throw new ConfigError(`${path}: no such file or folder`, { path: 'from' })
  if (isCorpus(path)) {
    throw new ConfigError(`${path} is a prepared corpus already: name the text that it was made of`, {
      path: 'from',
    })
  }
  return stat
}
