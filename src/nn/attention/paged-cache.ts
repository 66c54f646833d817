// Keys and values of sequences that come and go each for itself, and may have their beginnings in common.

import { ConfigError } from '../../errors.ts'
import type { CachingModel } from './kv-store.ts'
import { RowCache, type RowCacheOptions } from './row-cache.ts'

export interface PagedCacheOptions extends RowCacheOptions {
  sequences: number
  /** Tokens of a page. */
  pageTokens: number
  /** Pages of memory, for all sequences. */
  pages: number
}

/** A cache whose memory is cut into pages. Which of them a sequence has is up to whoever owns the cache. */
export class PagedCache extends RowCache {
  /** Of each sequence, in order: to be changed between two passes. */
  readonly pages: number[][]

  /** @throws ConfigError also where a sequence alone finds no room */
  constructor(model: CachingModel, { sequences, pageTokens, pages, ...options }: PagedCacheOptions) {
    const own = Array.from({ length: sequences }, (): number[] => [])
    super(model, options, { pageTokens, count: pages, pages: own })
    this.pages = own
    if (pages < this.pagesOfEach) {
      const problem = `${pages} pages of ${pageTokens} tokens hold no sequence of ${this.capacity}`
      throw new ConfigError(problem, { path: 'cache.pages' })
    }
  }
}
