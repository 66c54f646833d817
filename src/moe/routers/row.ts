// How recipes and config.json name a router: each router's file has a row beside its class, which the table gathers.

import { z } from 'zod'
import type { Module } from '../../nn/index.ts'
import type { Tensor } from '../../torch/index.ts'
import type { Routing } from '../routing/table.ts'
import type { TokenRouting } from '../routing/token.ts'
import type { Router } from './router.ts'

/** What a router needs to know of its model. */
export interface RouterSizes {
  hiddenSize: number
  numExperts: number
  vocabSize: number
}

export interface RouterRow<S extends z.ZodType> {
  /** Settings, told apart by `kind`. */
  schema: S
  /** The class: whether it is causal is known of all its routers. */
  router: { readonly prototype: Pick<Router<Routing>, 'isCausal'> }
  make(config: z.infer<S>, sizes: RouterSizes): Module & Router<Routing>
  /** Whether tokens choose experts, so that capacity and balance losses have a meaning. Default: yes. */
  tokensChoose?: false
  /** Coefficients of its own losses by name, as its paper has them. Default: it has none. */
  ownLosses?: Readonly<Record<string, number>>
  /** Those of them that need the cross-entropy of each token, [T]. */
  taught?: Readonly<Record<string, (routing: TokenRouting, tokenLosses: Tensor) => Tensor>>
  /** Whether it weighs its one expert by 1 whatever it scored, so that the task teaches it nothing. Default: no. */
  hasConstantWeight?(config: z.infer<S>): boolean
}

export const count = z.int().positive()
export const jitter = z.number().min(0).lt(1).default(0)

/** Of settings whose weights are over their sum: a single one is 1. */
export const isAlone = ({ k }: { k: number }): boolean => k === 1
