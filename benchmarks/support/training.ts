// The training steps that benchmarks share: a small Mixtral, and one of more real sizes.

import type { Sizes } from '../contestants/mixtral.ts'

export const trainingSizes: Sizes = {
  vocab: 4096,
  hidden: 256,
  layers: 4,
  heads: 4,
  ff: 512,
  experts: 8,
  topK: 2,
  batch: 8,
  length: 256,
}

export const largeTrainingSizes: Sizes = {
  vocab: 32_000,
  hidden: 512,
  layers: 8,
  heads: 8,
  ff: 1024,
  experts: 16,
  topK: 2,
  batch: 4,
  length: 1024,
}

/** Forward and backward of the matrix products and causal attention: 3 x 2 per active parameter, head included. */
export function trainingFlopsPerToken({ vocab, hidden, layers, ff, topK, length }: Sizes): number {
  const perLayer = 4 * hidden ** 2 + topK * 3 * hidden * ff
  return 6 * (layers * perLayer + vocab * hidden) + 6 * layers * hidden * length
}
