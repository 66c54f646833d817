// Counts of what went into one domain of one split.

import type { SplitCounts } from './corpus-manifest.ts'

export class TokenCounter {
  readonly #frequencies: Float64Array
  #documents = 0
  #bytes = 0
  #tokens = 0

  constructor(vocabSize: number) {
    this.#frequencies = new Float64Array(vocabSize)
  }

  /** Counts one document: its tokens, and the UTF-8 bytes they spell. */
  add(ids: readonly number[], bytes: number): void {
    this.#documents++
    this.#bytes += bytes
    this.#tokens += ids.length
    for (const id of ids) this.#frequencies[id]!++
  }

  get counts(): SplitCounts {
    return {
      documents: this.#documents,
      bytes: this.#bytes,
      tokens: this.#tokens,
      unigramEntropy: entropy(this.#frequencies),
    }
  }
}

/** `-sum p ln p` of frequencies, in nats. */
export function entropy(frequencies: ArrayLike<number>): number {
  const counts = Array.from(frequencies).filter(count => count > 0)
  const total = counts.reduce((sum, count) => sum + count, 0)
  const nats = counts.reduce((sum, count) => sum - (count / total) * Math.log(count / total), 0)
  return Math.max(0, nats) // a single kind of token gives -0
}
