// Parallel text: files that say the same line by line, each in a language.

import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import { ConfigError, DataError } from '../../errors.ts'
import { domainPattern } from '../document.ts'
import { listFiles } from '../sources/files.ts'
import { readLines } from '../sources/lines.ts'
import type { ExampleSource, FoundRecord } from './source.ts'

/** What is translated into what, as files and tokenizers call these languages. */
export interface LanguagePair {
  source: string
  target: string
}

/**
 * `en-de,en-fr` as pairs.
 *
 * @throws ConfigError for what is none
 */
export function parseLanguagePairs(text: string, path: string): LanguagePair[] {
  return text.split(',').map(part => {
    const [, source, target] = /^\s*(\w+)-(\w+)\s*$/.exec(part) ?? []
    if (source !== undefined && target !== undefined && source !== target) return { source, target }
    throw new ConfigError(`must be pairs of languages as en-de,en-fr, got '${part.trim()}'`, { path })
  })
}

/** The languages of pairs, each once, in the order in which they come. */
export const languagesOf = (pairs: readonly LanguagePair[]): string[] => [
  ...new Set(pairs.flatMap(({ source, target }) => [source, target])),
]

/** What a pair is called as a domain. */
export const pairName = ({ source, target }: LanguagePair): string => `${source}-${target}`

/** A text and its translation as an example, found at such a place; null where one of them is empty. */
export function translated(
  pair: LanguagePair,
  texts: LanguagePair,
  found: Pick<FoundRecord, 'file' | 'place'>,
): FoundRecord | null {
  const [prompt, completion] = [texts.source.trim(), texts.target.trim()]
  if (prompt === '' || completion === '') return null
  return { kind: 'plain', prompt, completion, languages: { ...pair }, domain: pairName(pair), ...found }
}

/** The examples that were not there before. */
export function distinct(): (record: FoundRecord) => boolean {
  const seen = new Set<string>()
  return ({ file: _, place: __, ...said }) => {
    const hash = createHash('sha1').update(JSON.stringify(said)).digest('base64')
    const isNew = !seen.has(hash)
    seen.add(hash)
    return isNew
  }
}

/**
 * Of files `NAME.en` and `NAME.de`, also packed as `NAME.en.gz`, the lines that belong together. Those of which one is empty, and those that
 * were there before, are left out.
 *
 * @throws DataError for a pair without such files, and for files of unequal length
 */
export function parallelFiles(paths: readonly string[], pairs: readonly LanguagePair[]): ExampleSource {
  for (const pair of pairs)
    if (!domainPattern.test(pairName(pair)))
      throw new ConfigError(`'${pairName(pair)}' is too long for a name`, { path: 'pairs' })

  async function* records(onProgress: (fraction: number, text: string) => void): AsyncGenerator<FoundRecord> {
    const files = (await listFiles(paths)).map(({ path }) => path)
    const works = pairs.flatMap(pair => worksOf(files, pair, paths))
    for (const [i, work] of works.entries()) {
      onProgress(i / works.length, `reading ${work.source}`)
      yield* linesOf(work)
    }
  }
  return { records, origins: () => paths.map(name => ({ name: basename(name) })) }
}

/** Files that say the same. */
interface Work extends LanguagePair {
  pair: LanguagePair
}

function worksOf(files: readonly string[], pair: LanguagePair, paths: readonly string[]): Work[] {
  const inLanguage = (language: string): Map<string, string> => {
    const ending = new RegExp(`\\.${language}(\\.gz|\\.zst)?$`)
    return new Map(files.flatMap(file => (ending.test(file) ? [[file.replace(ending, ''), file]] : [])))
  }
  const targets = inLanguage(pair.target)
  const works = [...inLanguage(pair.source)].flatMap(([name, source]) => {
    const target = targets.get(name)
    return target === undefined ? [] : [{ pair, source, target }]
  })
  if (works.length > 0) return works
  throw new DataError(
    `${paths.join(', ')}: no file NAME.${pair.source} beside a NAME.${pair.target}: lines of these are what belongs together`,
  )
}

async function* linesOf({ pair, source, target }: Work): AsyncGenerator<FoundRecord> {
  const isNew = distinct()
  const sides = [source, target].map(file => ({ lines: readLines(file), count: 0 })) as [Side, Side]
  try {
    for (;;) {
      const [from, to] = await Promise.all(sides.map(nextLine))
      if (from === undefined && to === undefined) break
      const found = { file: source, place: `line ${sides[0].count}` }
      const record = translated(pair, { source: from ?? '', target: to ?? '' }, found)
      if (record && isNew(record)) yield record
    }
  } finally {
    for (const { lines } of sides) await lines.return(undefined) // who reads no further leaves no file open
  }
  const [{ count: sources }, { count: targets }] = sides
  if (sources !== targets)
    throw new DataError(
      `${source} has ${sources} lines and ${target} ${targets}: line by line they must say the same`,
    )
}

interface Side {
  lines: AsyncGenerator<string>
  count: number
}

async function nextLine(side: Side): Promise<string | undefined> {
  const { value, done } = await side.lines.next()
  if (done) return undefined
  side.count++
  return value
}
