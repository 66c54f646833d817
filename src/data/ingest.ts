// From a source to the store: cleaned, without repetitions, in parts of document size.

import { DataError } from '../errors.ts'
import { cleanText, countReplacements } from './clean.ts'
import type { CleaningCounts } from './corpus-manifest.ts'
import type { SourceProgress, TextSource } from './document.ts'
import type { DocumentStore, StoredDocument } from './document-store.ts'
import { ParagraphFilter } from './paragraphs.ts'
import { splitText } from './split-text.ts'

/** Documents of fewer UTF-8 bytes say nothing. */
const shortestDocument = 16

/** More would be a mistake: a `domain` that holds titles, say. */
const mostDomains = 1000

/** What a source gave. */
export interface Ingested {
  /** Domains in the order of their first documents. */
  documents: Map<string, StoredDocument[]>
  cleaning: CleaningCounts
}

/** Reads a source to its end. Throws DataError when it holds no text. */
export async function ingest(
  source: TextSource,
  store: DocumentStore,
  { onProgress, signal }: { onProgress: SourceProgress; signal: AbortSignal | undefined },
): Promise<Ingested> {
  const filter = new ParagraphFilter()
  const documents = new Map<string, StoredDocument[]>()
  let replacedCharacters = 0
  let shortDocuments = 0
  for await (const { text, domain } of source.documents(onProgress)) {
    signal?.throwIfAborted()
    for (const part of splitText(filter.filter(cleanText(text)))) {
      const content = part.replace(/^\n+/, '').trimEnd()
      if (Buffer.byteLength(content) < shortestDocument) {
        shortDocuments++
        continue
      }
      replacedCharacters += countReplacements(content)
      listOf(documents, domain).push(store.add(content, domain))
    }
  }
  if (documents.size === 0) {
    throw new DataError(
      `the given text holds no document of ${shortestDocument} bytes or more: give more text`,
    )
  }
  return {
    documents,
    cleaning: {
      replacedCharacters,
      duplicateParagraphs: filter.dropped.paragraphs,
      duplicateBytes: filter.dropped.bytes,
      shortDocuments,
      skippedFiles: source.skipped.length,
    },
  }
}

function listOf(documents: Map<string, StoredDocument[]>, domain: string): StoredDocument[] {
  const known = documents.get(domain)
  if (known) return known
  if (documents.size === mostDomains) {
    throw new DataError(`more than ${mostDomains} domains: 'domain' must name a kind of text, not a document`)
  }
  const list: StoredDocument[] = []
  documents.set(domain, list)
  return list
}
