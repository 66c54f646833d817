// What training minimises: cross-entropy and the router's auxiliary losses, each by name.

import { z } from 'zod'
import type { CausalLM, LayerRouting } from '../models/index.ts'
import { hfBalanceLoss, routerZLoss, switchBalanceLoss } from '../moe/index.ts'
import type { Tensor } from '../torch/index.ts'
import { kinds } from './kinds.ts'

const coefficient = z.number().nonnegative()

/** Which auxiliary losses count, and how much. */
export const lossesSchema = z.strictObject({
  balance: kinds(
    /** switchBalanceLoss of each layer: 1 when balanced. `layers` says how layers add up. */
    z.strictObject({
      kind: z.literal('switch'),
      coefficient: coefficient.default(0.01),
      layers: z.enum(['sum', 'mean']).default('sum'),
    }),
    /** hfBalanceLoss over all layers at once: K when balanced. What `router_aux_loss_coef` weighs. */
    z.strictObject({ kind: z.literal('mixtral-hf'), coefficient: coefficient.default(0.001) }),
    z.strictObject({ kind: z.literal('none') }),
  ).prefault({}),
  /** Coefficient of the router z-loss, summed over layers. */
  z: coefficient.default(0.001),
})

export type Losses = z.infer<typeof lossesSchema>

export interface Objective {
  /** What backward starts from. */
  total: Tensor
  /** Each loss by name, unweighted: `crossEntropy`, `balance`, `z`. */
  terms: Record<string, Tensor>
  routings: LayerRouting[]
}

/**
 * @param inputs i64 [B, T]
 * @param targets i64 [B, T], the token after each input
 */
export function computeObjective(
  model: CausalLM,
  inputs: Tensor,
  targets: Tensor,
  losses: Losses,
): Objective {
  const { loss: crossEntropy, routings } = model.loss(inputs, targets)
  const terms: Record<string, Tensor> = { crossEntropy }
  let total = crossEntropy
  if (routings.length > 0 && losses.balance.kind !== 'none') {
    terms.balance = balanceLoss(routings, losses.balance)
    total = total.add(terms.balance, losses.balance.coefficient)
  }
  if (routings.length > 0 && losses.z > 0) {
    terms.z = sum(routings.map(({ chosen }) => routerZLoss(chosen)))
    total = total.add(terms.z, losses.z)
  }
  return { total, terms, routings }
}

function balanceLoss(
  routings: readonly LayerRouting[],
  balance: Exclude<Losses['balance'], { kind: 'none' }>,
): Tensor {
  const chosen = routings.map(routing => routing.chosen)
  if (balance.kind === 'mixtral-hf') return hfBalanceLoss(chosen)
  const summed = sum(chosen.map(switchBalanceLoss))
  return balance.layers === 'sum' ? summed : summed.div(chosen.length)
}

const sum = (terms: readonly Tensor[]): Tensor => terms.reduce((total, term) => total.add(term))
