// A corpus described for people: what it holds, what was dropped, under which licences.

import type { Corpus, DomainCounts, Origin, SkippedFile } from '../../data/index.ts'
import { bold, count, dim, shortBytes, shortCount, table, wrapList, yellow } from '../terminal.ts'

export function describeCorpus({ folder, manifest, train, validation, vocabSize }: Corpus): string {
  const sum = (pick: (domain: DomainCounts) => number): number =>
    manifest.domains.reduce((total, domain) => total + pick(domain), 0)
  const bytes = sum(textBytes)
  const total = [
    'total',
    count(sum(({ train, validation }) => train.documents + validation.documents)),
    shortBytes(bytes),
    shortCount(train.tokens),
    shortCount(validation.tokens),
    (bytes / (train.tokens + validation.tokens)).toFixed(2),
    '',
  ]
  const rows = [headings, ...manifest.domains.map(domainRow), total]
  return [
    `${bold(folder)}  ${count(vocabSize)} token vocabulary, seed ${manifest.seed}`,
    table(rows),
    cleaningNotes(manifest.cleaning).join('\n'),
    originNotes(manifest.origins).join('\n'),
  ]
    .filter(part => part !== '')
    .join('\n\n')
    .concat('\n')
}

const headings = ['domain', 'documents', 'text', 'train', 'validation', 'bytes/token', 'unigram nats']

function domainRow(domain: DomainCounts): string[] {
  const { name, train, validation } = domain
  return [
    name,
    count(train.documents + validation.documents),
    shortBytes(textBytes(domain)),
    shortCount(train.tokens),
    shortCount(validation.tokens),
    (textBytes(domain) / (train.tokens + validation.tokens)).toFixed(2),
    train.unigramEntropy.toFixed(2),
  ]
}

const textBytes = ({ train, validation }: DomainCounts): number => train.bytes + validation.bytes

function cleaningNotes(cleaning: Corpus['manifest']['cleaning']): string[] {
  const { duplicateParagraphs, duplicateBytes, shortDocuments, skippedFiles, replacedCharacters } = cleaning
  const notes = [
    note(duplicateParagraphs, 'repeated paragraph', `dropped (${shortBytes(duplicateBytes)})`),
    note(shortDocuments, 'document', 'dropped, too short'),
    note(skippedFiles, 'file', 'skipped, no text'),
    note(replacedCharacters, 'character', 'replaced, not UTF-8', yellow),
  ]
  return notes.filter(text => text !== undefined)
}

/** The first few of the files that were passed over, by name. */
export function skippedLines(skipped: readonly SkippedFile[]): string[] {
  const shown = skipped.slice(0, 5).map(({ file, reason }) => dim(`skipped ${file}: ${reason}`))
  const rest = skipped.length - shown.length
  return rest > 0 ? [...shown, dim(`skipped ${count(rest)} files more`)] : shown
}

function note(number: number, noun: string, rest: string, paint = dim): string | undefined {
  return number === 0 ? undefined : paint(`${count(number)} ${noun}${number === 1 ? '' : 's'} ${rest}`)
}

/** One line per licence, with all that is under it. */
function originNotes(origins: readonly Origin[]): string[] {
  const works = new Map<string, string[]>()
  for (const { name, version, licence = 'your own' } of origins) {
    const work = version === undefined ? name : `${name} ${version}`
    works.set(licence, [...(works.get(licence) ?? []), work])
  }
  const width = Math.max(...[...works.keys()].map(licence => licence.length)) + 2
  return [...works].map(([licence, list]) =>
    dim(licence.padEnd(width) + wrapList(list, width, process.stdout.columns ?? 100)),
  )
}
