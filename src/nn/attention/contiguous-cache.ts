// Keys and values of sequences that come and go together: each in one stretch of memory.

import type { CachingModel } from './kv-store.ts'
import { RowCache, type RowCacheOptions } from './row-cache.ts'

export interface CacheOptions extends RowCacheOptions {
  /** Default 1. */
  sequences?: number
}

/** A cache in which the rows of sequence b begin at b times its capacity. */
export class ContiguousCache extends RowCache {
  constructor(model: CachingModel, { sequences = 1, ...options }: CacheOptions) {
    const pages = Array.from({ length: sequences }, (_, sequence) => [sequence])
    super(model, options, { pageTokens: options.capacity, count: sequences, pages })
  }
}
