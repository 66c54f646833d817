// What training minimises: cross-entropy and the router's auxiliary losses, each by name.

import { z } from 'zod'
import { type LanguageModel, type LayerRouting, tokenRoutings } from '../models/index.ts'
import { equalStarts, lossFields, lossTerms, MoeLayer } from '../moe/index.ts'
import type { Tensor } from '../torch/index.ts'

/** Which auxiliary losses count, and how much. */
export const lossesSchema = z.strictObject({
  ...lossFields,
  /** Steps over which the balance loss's coefficient grows from 0. */
  balanceWarmup: z.int().nonnegative().default(0),
})

export type Losses = z.infer<typeof lossesSchema>

/** The losses of a step, counted from 0, while the balance loss warms up. */
export function warmedUp(losses: Losses, step: number): Losses {
  const { balance, balanceWarmup } = losses
  if (balance.kind === 'none' || step >= balanceWarmup) return losses
  return { ...losses, balance: { ...balance, coefficient: (balance.coefficient * step) / balanceWarmup } }
}

/**
 * Token ids i64 [B, T], what is to be predicted at each (-100: nothing), and if the model asks for it the task of each.
 */
export interface Batch {
  inputs: Tensor
  targets: Tensor
  tasks?: Tensor | null
}

export interface Objective {
  /** What backward starts from. */
  total: Tensor
  /** Each loss by name, unweighted: `crossEntropy`, `balance`, `z`. */
  terms: Record<string, Tensor>
  routings: LayerRouting[]
}

/** Balance and routers' own losses are of layers in which tokens choose; the z-loss of all that score experts. */
export function computeObjective(
  model: LanguageModel,
  { inputs, targets, tasks = null }: Batch,
  losses: Losses,
): Objective {
  const { loss: crossEntropy, hidden, routings } = model.loss(inputs, targets, { tasks })
  const terms: Record<string, Tensor> = { crossEntropy }
  let total = crossEntropy
  const decisions = {
    layers: tokenRoutings(routings),
    experts: [...model.namedModules()].flatMap(([, part]) => (part instanceof MoeLayer ? part.experts : [])),
    scored: routings.flatMap(({ chosen }) => ('logits' in chosen ? chosen : [])),
    starts: equalStarts(inputs.size(0), inputs.size(1)),
    tokenLosses: () => model.tokenLosses(hidden, targets),
  }
  for (const { name, value, weight } of lossTerms(losses, decisions)) {
    terms[name] = value
    total = total.add(value, weight)
  }
  return { total, terms, routings }
}
