// What training minimises: cross-entropy and the router's auxiliary losses, each by name.

import { z } from 'zod'
import { kinds } from '../kinds.ts'
import {
  type LanguageModel,
  type LayerRouting,
  type Tokens,
  tokenRoutings,
  tokensOf,
} from '../models/index.ts'
import { balanceLoss, balancePresets, reinforceLoss, routerZLoss, type TokenRouting } from '../moe/index.ts'
import type { Tensor } from '../torch/index.ts'
import type { TextRows } from './token-windows.ts'

const coefficient = z.number().nonnegative()
/** Whether the load is to be balanced over a micro-batch, or within each of its sequences. */
const scope = z.enum(['batch', 'sequence']).default('batch')

/** Which auxiliary losses count, and how much. */
export const lossesSchema = z.strictObject({
  balance: kinds(
    /** 1 per layer when balanced. `layers` says how layers add up. */
    z.strictObject({
      kind: z.literal('switch'),
      coefficient: coefficient.default(0.01),
      layers: z.enum(['sum', 'mean']).default('sum'),
      scope,
    }),
    /** All layers as one batch, K when balanced: what `router_aux_loss_coef` weighs. */
    z.strictObject({ kind: z.literal('mixtral-hf'), coefficient: coefficient.default(0.001), scope }),
    z.strictObject({ kind: z.literal('gshard'), coefficient: coefficient.default(0.01), scope }),
    z.strictObject({ kind: z.literal('megatron'), coefficient: coefficient.default(0.01), scope }),
    z.strictObject({ kind: z.literal('olmoe'), coefficient: coefficient.default(0.01), scope }),
    z.strictObject({ kind: z.literal('fairseq'), coefficient: coefficient.default(0.01), scope }),
    z.strictObject({ kind: z.literal('none') }),
  ).prefault({}),
  /** Steps over which the balance loss's coefficient grows from 0. */
  balanceWarmup: z.int().nonnegative().default(0),
  /** Coefficient of the router z-loss, summed over layers. */
  z: coefficient.default(0.001),
  /** Coefficients of a router's own losses by name, summed over layers. Default: those of its paper. */
  router: z.record(z.string(), coefficient).default({}),
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

/** Balance and routers' own losses are of layers in which tokens choose; the z-loss of all that score experts. */
export function computeObjective(
  model: LanguageModel,
  { inputs, targets }: Batch,
  losses: Losses,
): Objective {
  const { loss: crossEntropy, hidden, routings } = model.loss(inputs, targets)
  const terms: Record<string, Tensor> = { crossEntropy }
  let total = crossEntropy
  const chosen = tokenRoutings(routings)
  if (chosen.length > 0 && losses.balance.kind !== 'none') {
    terms.balance = balance(chosen, losses.balance, inputs.starts)
    total = total.add(terms.balance, losses.balance.coefficient)
  }
  const scored = routings.flatMap(({ chosen: any }) => ('logits' in any ? any : []))
  if (scored.length > 0 && losses.z > 0) {
    terms.z = sum(scored.map(routerZLoss))
    total = total.add(terms.z, losses.z)
  }
  for (const [name, weight] of Object.entries(losses.router)) {
    if (weight === 0) continue
    const own =
      name === 'policy'
        ? policyLosses(chosen, model.tokenLosses(hidden, targets))
        : chosen.flatMap(routing => routing.losses?.[name] ?? [])
    if (own.length === 0) continue
    const term = sum(own)
    terms[`router.${name}`] = term
    total = total.add(term, weight)
  }
  return { total, terms, routings }
}

/** What teaches routers that draw their experts: each token's reward is minus its own cross-entropy. */
function policyLosses(layers: readonly TokenRouting[], tokenLosses: Tensor): Tensor[] {
  return layers.map(layer => reinforceLoss(layer, tokenLosses.neg(), { entropy: 0 }))
}

/** Conventions and presets are those of moe/losses/balance.ts. */
function balance(
  layers: readonly TokenRouting[],
  loss: Exclude<Losses['balance'], { kind: 'none' }>,
  starts: readonly number[],
): Tensor {
  const preset = balancePresets[loss.kind]
  const convention = loss.kind === 'switch' ? { ...preset, layers: loss.layers } : preset
  return balanceLoss(layers, convention, { scope: loss.scope, starts })
}

const sum = (terms: readonly Tensor[]): Tensor => terms.reduce((total, term) => total.add(term))
