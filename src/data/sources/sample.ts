// The text that ships with Switchyard: under a megabyte in four domains, for first steps and tests without network.

import { fileURLToPath } from 'node:url'
import type { Origin, TextSource } from '../document.ts'
import { fileSource } from './files.ts'

const folder = fileURLToPath(new URL('../../../samples/', import.meta.url))

/** Where the sample comes from; samples/README.md says more. */
export const sampleOrigins: readonly Origin[] = [
  { name: 'The Go programming language', version: '1.19.8', licence: 'BSD-3-Clause' },
  { name: 'set.mm, the Metamath proof database', version: '28-Dec-2020', licence: 'CC0-1.0' },
  { name: 'World English Bible; Spurgeon, The Treasury of David', licence: 'public domain' },
  { name: 'Reina-Valera 1909', licence: 'public domain' },
]

/** Under a megabyte of text in four domains: English prose, Go, Spanish, proofs. */
export function sampleSource(): TextSource {
  const files = fileSource({
    paths: ['bible', 'code', 'es', 'maths'].map(domain => `${folder}${domain}.jsonl`),
  })
  return {
    documents: onProgress => files.documents(onProgress),
    origins: () => [...sampleOrigins],
    skipped: [],
  }
}
