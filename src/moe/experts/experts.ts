// What structures of experts have in common, and how recipes name them.

import type { z } from 'zod'
import type { Module } from '../../nn/index.ts'
import type { Tensor } from '../../torch/index.ts'
import type { Experts } from '../contracts.ts'
import { sortedDispatch } from '../routing/sorted.ts'
import type { TokenRouting } from '../routing/token.ts'

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
