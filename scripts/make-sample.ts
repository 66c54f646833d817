// Writes samples/*.jsonl: about 210 kB of text per domain, from Debian packages under licences that allow it.
// Usage: node --import tsx scripts/make-sample.ts [CACHE]

import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { cleanText } from '../src/data/clean.ts'
import { debianSource } from '../src/data/debian/source.ts'
import type { Document } from '../src/data/document.ts'
import { ParagraphFilter } from '../src/data/paragraphs.ts'
import { Permutation } from '../src/data/permutation.ts'
import { maxDocumentLength } from '../src/data/split-text.ts'

const bytesPerDomain = 210_000
const seed = 1

/** Which sources of a domain may be shipped. */
const shipped: Record<string, RegExp> = {
  bible: /^sword-/,
  // Without the parts that Go took from others, which bring notices of their own.
  code: /^golang-.*\/src\/(?!(cmd|math|image\/jpeg|debug\/elf|runtime|crypto\/internal\/boring)\/)/,
  es: /^sword-text-sparv/,
  maths: /set\.mm$/,
}

for (const [domain, sources] of Object.entries(shipped)) {
  const documents = choose(await readDocuments(domain, sources))
  const file = fileURLToPath(new URL(`../samples/${domain}.jsonl`, import.meta.url))
  writeFileSync(file, documents.map(document => `${JSON.stringify(document)}\n`).join(''))
  process.stdout.write(`${file}: ${documents.length} documents\n`)
}

/** Whole documents only: chapters, files and sections that are not too long. */
async function readDocuments(domain: string, sources: RegExp): Promise<Document[]> {
  const filter = new ParagraphFilter()
  const documents: Document[] = []
  const source = debianSource({ domains: [domain], cache: process.argv[2] ?? 'data/cache' })
  for await (const document of source.documents(() => {})) {
    if (!sources.test(document.source)) continue
    const text = filter.filter(cleanText(document.text))
    if (text.length >= 500 && text.length <= maxDocumentLength) documents.push({ ...document, text })
  }
  return documents
}

function choose(documents: readonly Document[]): Document[] {
  const order = new Permutation(documents.length, [seed])
  let left = bytesPerDomain
  return documents
    .map((_, position) => documents[order.at(position)]!)
    .filter(({ text }) => {
      const bytes = Buffer.byteLength(text)
      if (bytes > left) return false
      left -= bytes
      return true
    })
}
