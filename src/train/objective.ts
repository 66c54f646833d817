// What training minimises: cross-entropy and the router's auxiliary losses, each by name.

import { z } from 'zod'
import {
  type LanguageModel,
  type LayerRouting,
  type Tokens,
  tokenRoutings,
  tokensOf,
} from '../models/index.ts'
import { lossFields, lossTerms, MoeLayer } from '../moe/index.ts'
import type { Tensor } from '../torch/index.ts'
import { type Preference, preferenceObjective } from './preference.ts'
import type { TextRows } from './token-windows.ts'

/** Which auxiliary losses count, and how much. */
export const lossesSchema = z.strictObject({
  ...lossFields,
  /** Steps over which the balance loss's coefficient grows from 0. */
  balanceWarmup: z.int().nonnegative().default(0),
  /** Share of each label that is spread over the whole vocabulary. */
  labelSmoothing: z.number().min(0).lt(1).default(0),
})

export type Losses = z.infer<typeof lossesSchema>

/** The losses of a step, counted from 0, while the balance loss warms up. */
export function warmedUp(losses: Losses, step: number): Losses {
  const { balance, balanceWarmup } = losses
  if (balance.kind === 'none' || step >= balanceWarmup) return losses
  return { ...losses, balance: { ...balance, coefficient: (balance.coefficient * step) / balanceWarmup } }
}

/** Tokens, and what is to be predicted at each: i64 [N], -100 for nothing. */
export interface Batch {
  inputs: Tokens
  targets: Tensor
  /** How many targets count, where batches differ in that. Default: as many in each. */
  scored?: number
  /** Where examples come in pairs, the first of which is preferred: their numbers. */
  pairs?: readonly number[]
}

/** Rows of one length, i64 [B, T] each, as a batch. */
export function batchOf({ inputs, targets, tasks = null }: TextRows): Batch {
  return { inputs: tokensOf(inputs, { tasks }), targets: targets.reshape([-1]) }
}

export interface Objective {
  /** What backward starts from. */
  total: Tensor
  /** Each loss by name, unweighted: `crossEntropy`, `balance`, `z`. */
  terms: Record<string, Tensor>
  routings: LayerRouting[]
}

/**
 * Balance and routers' own losses are of layers in which tokens choose; the z-loss of all that score experts.
 *
 * @param preference what is learnt of pairs. Default: every target, as likely as can be
 */
export function computeObjective(
  model: LanguageModel,
  batch: Batch,
  losses: Losses,
  preference: Preference | null = null,
): Objective {
  const { inputs, targets } = batch
  const main = preference ? preferenceObjective(model, batch, preference) : likelihood(model, batch)
  const { hidden, routings } = main
  const terms: Record<string, Tensor> = main.terms
  let { total } = main
  if (losses.labelSmoothing > 0) {
    terms.targetMargin = model.targetMargin(hidden, targets)
    total = total.add(terms.targetMargin, losses.labelSmoothing)
  }
  const decisions = {
    layers: tokenRoutings(routings),
    experts: [...model.namedModules()].flatMap(([, part]) => (part instanceof MoeLayer ? part.experts : [])),
    scored: routings.flatMap(({ chosen }) => ('logits' in chosen ? chosen : [])),
    starts: inputs.starts,
    tokenLosses: () => model.tokenLosses(hidden, targets),
  }
  for (const { name, value, weight } of lossTerms(losses, decisions)) {
    terms[name] = value
    total = total.add(value, weight)
  }
  return { total, terms, routings }
}

/** What is learnt of the text itself, with what it was learnt from. */
export interface MainObjective extends Objective {
  hidden: Tensor
}

function likelihood(model: LanguageModel, { inputs, targets }: Batch): MainObjective {
  const { loss, hidden, routings } = model.loss(inputs, targets)
  return { total: loss, terms: { crossEntropy: loss }, hidden, routings }
}
