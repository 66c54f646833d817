// Product keys: the best of n^2 keys from two lists of n (arXiv:1907.05242).
// Shapes: n sub-keys in each half, N = n^2 keys, k kept.

import type { Tensor } from '../../torch/index.ts'

/** The k best keys, best first. */
export interface KeyMatches {
  /** `[..., k]`: carries the gradient to queries and sub-keys. */
  scores: Tensor
  /** i64 [..., k], in 0..N-1. */
  indices: Tensor
}

/**
 * `top-k over (i, j) of first_i + second_j`, key (i, j) numbered `i n + j`. Only the k best of each half can be part of
 * it, since k others would go before: so 2n scores and k^2 sums instead of n^2 sums, and the result is exact. Between
 * equal sums the choice is arbitrary.
 *
 * @param first [..., n] scores of the first half
 * @param second [..., n] scores of the second half
 * @param topK 1 to n
 */
export function matchProductKeys(first: Tensor, second: Tensor, topK: number): KeyMatches {
  const [firstScores, firstIndices] = first.topk(topK) // [..., k] each
  const [secondScores, secondIndices] = second.topk(topK)
  const sums = firstScores.unsqueeze(-1).add(secondScores.unsqueeze(-2)).flatten(-2) // [..., k*k]
  const [scores, at] = sums.topk(topK) // [..., k]
  const i = firstIndices.gather(-1, at.floorDivide(topK))
  const j = secondIndices.gather(-1, at.remainder(topK))
  return { scores, indices: i.mul(second.size(-1)).add(j) }
}
