// Every router by the name that recipes and config.json give it.

import type { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { kindsOf } from '../../kinds.ts'
import { declared, type Module } from '../../nn/index.ts'
import type { Routing } from '../routing/table.ts'
import { base } from './base.ts'
import { biasedTopK } from './biased-top-k.ts'
import { centroids } from './centroids.ts'
import { cosine } from './cosine.ts'
import { expertChoice } from './expert-choice.ts'
import { sequence, task } from './grouped-tokens.ts'
import { hash } from './hash.ts'
import { hierarchical } from './hierarchical.ts'
import { noisyTopK } from './noisy-top-k.ts'
import { nullExperts } from './null-experts.ts'
import { reinforce } from './reinforce.ts'
import type { Router } from './router.ts'
import type { RouterRow, RouterSizes } from './row.ts'
import { sinkhornTopK } from './sinkhorn.ts'
import { soft } from './soft.ts'
import { top2 } from './top-2.ts'
import { topK } from './top-k.ts'
import { topP } from './top-p.ts'
import { words } from './words.ts'

const rows = {
  'top-k': topK,
  'noisy-top-k': noisyTopK,
  'top-2': top2,
  'biased-top-k': biasedTopK,
  'top-p': topP,
  'null-experts': nullExperts,
  cosine,
  hierarchical,
  sinkhorn: sinkhornTopK,
  base,
  hash,
  words,
  centroids,
  reinforce,
  task,
  sequence,
  'expert-choice': expertChoice,
  soft,
} as const

/** Settings of a router, told apart by `kind`; top-k when they name none. */
export const routerSchema = kindsOf(rows)

export type RouterConfig = z.infer<typeof routerSchema>
export type RouterKind = keyof typeof rows

const rowOf = ({ kind }: RouterConfig): RouterRow<z.ZodType<RouterConfig>> =>
  rows[kind] as unknown as RouterRow<z.ZodType<RouterConfig>>

/** A router by the settings that recipes and config.json give it. */
export function createRouter(config: RouterConfig, sizes: RouterSizes): Module & Router<Routing> {
  return rowOf(config).make(config, sizes)
}

/** Experts that a token uses, at most; what a dense twin is made by. */
export function activeExperts(config: RouterConfig, sizes: RouterSizes): number {
  return declared(() => createRouter(config, sizes)).active
}

/** Routers that weigh their one expert by 1 whatever it scored, so that the task teaches them nothing. */
export function hasConstantWeight(config: RouterConfig): boolean {
  return rowOf(config).hasConstantWeight?.(config) ?? false
}

/** Whether tokens choose experts, so that capacity and balance losses have a meaning. */
export function tokensChoose(config: RouterConfig): boolean {
  return rowOf(config).tokensChoose ?? true
}

/** Coefficients of a router's own losses, by name. */
export function ownLossCoefficients(config: RouterConfig): Readonly<Record<string, number>> {
  return rowOf(config).ownLosses ?? {}
}

/** Own losses of any router that need the cross-entropy of each token, by name. */
export const taughtLosses: NonNullable<RouterRow<z.ZodType>['taught']> = Object.assign(
  {},
  ...Object.values(rows).map(row => row.taught),
)

/**
 * Refuses what a causal decoder cannot use.
 *
 * @param path of the setting, for the error
 * @throws ConfigError
 */
export function requireCausal(config: RouterConfig, path: string): void {
  if (rowOf(config).router.prototype.isCausal) return
  throw new ConfigError(
    `${config.kind} routes a token by what follows it, which a decoder does not know when it writes; use it in an encoder ` +
      '(switchyard_moe_encoder), or here one of top-k, top-2, biased-top-k',
    { path },
  )
}
