// Manual pages and their translations, which lie beside each other where Debian installs them.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { DataError } from '../../errors.ts'
import { distinct, type LanguagePair, pairName, translated } from '../conversations/parallel.ts'
import type { ExampleSource, FoundRecord } from '../conversations/source.ts'
import { type ManParagraph, manSections } from './readers/man.ts'

/** Far above any page, far below memory. */
const largestPage = 16 * 2 ** 20

/**
 * Paragraphs of manual pages with their translations, of pages that there are in both languages. Translators keep the macros: a section
 * counts where both have the same ones in the same order. What is the same in both was not translated, and is left out.
 *
 * @param root folder of the English pages (`man1/ls.1.gz`), with one for each other language (`de/man1/ls.1.gz`)
 * @throws DataError where no page is in both languages of a pair
 */
export function parallelManuals(pairs: readonly LanguagePair[], root = '/usr/share/man'): ExampleSource {
  const folderOf = (language: string): string => (language === 'en' ? root : join(root, language))

  async function* records(onProgress: (fraction: number, text: string) => void): AsyncGenerator<FoundRecord> {
    for (const [i, pair] of pairs.entries()) {
      const folders = { source: folderOf(pair.source), target: folderOf(pair.target) }
      const pages = pagesOf(folders.source).filter(page => existsSync(join(folders.target, page)))
      if (pages.length === 0)
        throw new DataError(
          `${root} has no page in both languages of ${pairName(pair)}: install manpages-${pair.source === 'en' ? pair.target : pair.source}, or give texts with --from`,
        )
      const isNew = distinct()
      for (const [n, page] of pages.entries()) {
        onProgress((i + n / pages.length) / pairs.length, `reading ${page} (${pairName(pair)})`)
        const [source, target] = [folders.source, folders.target].map(folder =>
          sectionsOf(join(folder, page)),
        )
        for (const [p, texts] of aligned(source ?? [], target ?? []).entries()) {
          const found = { file: join(folders.source, page), place: `paragraph ${p + 1}` }
          const record = texts.source === texts.target ? null : translated(pair, texts, found)
          if (record && isNew(record)) yield record
        }
      }
    }
  }
  return { records, origins: () => [{ name: root, licence: 'of each page' }] }
}

/** `man1/ls.1.gz` and so on, in order. */
function pagesOf(folder: string): string[] {
  if (!existsSync(folder)) return []
  const sections = readdirSync(folder).filter(name => /^man\d$/.test(name))
  return sections.sort().flatMap(section =>
    readdirSync(join(folder, section))
      .sort()
      .map(page => `${section}/${page}`),
  )
}

function sectionsOf(file: string): ManParagraph[][] {
  const bytes = readFileSync(file)
  const unpacked = file.endsWith('.gz') ? gunzipSync(bytes, { maxOutputLength: largestPage }) : bytes
  return manSections(unpacked.toString('utf8'))
}

/** The paragraphs of sections that are built alike, of pages with as many sections. */
export function aligned(
  source: readonly ManParagraph[][],
  target: readonly ManParagraph[][],
): { source: string; target: string }[] {
  if (source.length !== target.length) return []
  return source.flatMap((section, i) => {
    const other = target[i] ?? []
    const isAlike =
      section.length === other.length && section.every(({ macro }, p) => macro === other[p]?.macro)
    return isAlike ? section.map(({ text }, p) => ({ source: text, target: other[p]?.text ?? '' })) : []
  })
}
