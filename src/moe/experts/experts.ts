// What every kind of expert offers, and how recipes name it.
// Shapes: T tokens, D model, N rows grouped by expert.

import type { z } from 'zod'
import type { Module } from '../../nn/index.ts'
import type { Tensor } from '../../torch/index.ts'
import { sortedDispatch } from '../dispatch/sorted.ts'
import type { TokenRouting } from '../routing/token.ts'

/** E feed-forward networks. */
export interface Experts {
  readonly numExperts: number
  /** `y_t = sum_k weights_tk expert(x_t)`, dispatch and combine included: [T, D] -> [T, D]. */
  mix(x: Tensor, routing: TokenRouting): Tensor
  /**
   * Rows grouped by expert through their experts, where it is not tokens that choose: [N, D] -> [N, D].
   *
   * @param counts rows of each expert, in order
   */
  grouped(x: Tensor, counts: readonly number[]): Tensor
  /** One expert alone: [n, D] -> [n, D]. The reference that all else is tested against. */
  expert(index: number, x: Tensor): Tensor
}

/** mix() by way of grouped(): a row for each choice, sorted by expert. */
export function mixGrouped(x: Tensor, routing: TokenRouting, experts: Pick<Experts, 'grouped'>): Tensor {
  const { x: rows, counts, combine } = sortedDispatch(x, routing)
  return combine(experts.grouped(rows, counts))
}

/** What experts of every structure follow from. */
export interface ExpertSizes {
  numExperts: number
  hiddenSize: number
  /** Width F of each expert. */
  intermediateSize: number
}

/** A structure of experts: what recipes may set, and what it is made from. */
export interface ExpertsRow<S extends z.ZodType, O> {
  schema: S
  make(options: O): Module & Experts
}
