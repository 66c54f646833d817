// Text from Debian packages as a source of documents.

import { ConfigError } from '../../errors.ts'
import type { Document, Origin, SourceProgress, TextSource } from '../document.ts'
import { type DebianDomain, type DebianDomainName, debianDomains, defaultDomains } from './domains.ts'
import { PackageCache } from './packages.ts'

export interface DebianSourceOptions {
  /** Default: {@link defaultDomains}. */
  domains?: readonly string[]
  /** Folder that keeps downloaded packages. Default: `data/cache`. */
  cache?: string
}

/** Pages with less text than this (in UTF-16 units) only point elsewhere. */
const shortestPage = 200

/** Documents of the packages behind the given domains; downloads what the cache does not hold. */
export function debianSource({
  domains = defaultDomains,
  cache: folder = 'data/cache',
}: DebianSourceOptions = {}): TextSource {
  const chosen = domains.map(name => ({ name, domain: findDomain(name) }))
  const packages = chosen.flatMap(({ domain }) => domain.packages)
  const cache = new PackageCache(folder)

  async function* documents(onProgress: SourceProgress): AsyncGenerator<Document> {
    await cache.fetch(
      packages.map(({ name }) => name),
      onProgress,
    )
    let done = 0
    for (const {
      name: domain,
      domain: { packages: sources },
    } of chosen) {
      for (const { name, read } of sources) {
        onProgress(done++ / packages.length, `reading ${name}`)
        for (const { text, place } of read(cache.filesOf(name))) {
          if (text.length >= shortestPage) yield { text, domain, source: `${name}/${place}` }
        }
      }
    }
  }

  return {
    documents,
    origins: (): Origin[] =>
      packages.map(({ name, licence }) => ({ name, version: cache.versionOf(name), licence })),
    skipped: [],
  }
}

function findDomain(name: string): DebianDomain {
  if (Object.hasOwn(debianDomains, name)) return debianDomains[name as DebianDomainName]
  throw new ConfigError(
    `'${name}' is no domain; there are ${Object.entries(debianDomains)
      .map(([known, { title }]) => `${known} (${title})`)
      .join(', ')}`,
    { path: 'domains' },
  )
}
