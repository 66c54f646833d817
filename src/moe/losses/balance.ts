// Balance losses: pure functions of routing data, which count padding nowhere.
// Shapes: T tokens, E experts, K chosen per token, S tokens of one sequence.

import { z } from 'zod'
import { kinds } from '../../kinds.ts'
import { eachSequence } from '../../nn/index.ts'
import { cat, type Tensor, tensor, tidy } from '../../torch/index.ts'
import { meanOverTokens, realTokens } from '../routing/mean.ts'
import { overBatch } from '../routing/over-batch.ts'
import { expertCounts, type TokenRouting } from '../routing/token.ts'
import type { Starts } from '../sequences.ts'
import type { LossRow } from './row.ts'

/**
 * Everything in which the balance losses of different systems differ. All are `E sum_i f_i P_i`, with `f_i` the share of
 * choices that fell on expert i, without a gradient, and `P_i` the mean probability of i.
 */
export interface BalanceConvention {
  /** Which choices `f` counts: each token's first, or all K. */
  choices: 'first' | 'all'
  /** Whether `f` is a share of choices (1 when balanced) or counts choices per token (K when balanced). */
  balanced: 'one' | 'k'
  /** How layers add up; `together` takes all layers of as many experts, of the batch or of a sequence, as one, in which their imbalances may cancel. */
  layers: 'sum' | 'mean' | 'together'
}

/** What systems do; sources in docs/routers.md. */
export const balancePresets = {
  /** Switch (arXiv:2101.03961 equations 4-6), for K choices as Megatron. The default. */
  switch: { choices: 'all', balanced: 'one', layers: 'sum' },
  /** GShard (arXiv:2006.16668), Mesh-TensorFlow. */
  gshard: { choices: 'first', balanced: 'one', layers: 'sum' },
  /** transformers' `load_balancing_loss_func`: what `router_aux_loss_coef` in a config.json means, for Switch within each sequence. */
  'mixtral-hf': { choices: 'all', balanced: 'k', layers: 'together' },
  /** Megatron-Core `aux_loss`. */
  megatron: { choices: 'all', balanced: 'one', layers: 'sum' },
  /** OLMo-core: divided by the number of layers. */
  olmoe: { choices: 'all', balanced: 'one', layers: 'mean' },
  /** fairseq's moe branch, `moe_gate_loss_combine_method` average. */
  fairseq: { choices: 'first', balanced: 'one', layers: 'mean' },
} as const satisfies Record<string, BalanceConvention>

export type BalancePreset = keyof typeof balancePresets

/** Over what a balance loss is taken. */
export interface BalanceScope {
  /**
   * `batch`: over all tokens at once. `sequence`: over each sequence, then their mean, which is stricter (DeepSeek-V3's
   * complementary loss). Default `batch`
   */
  scope?: 'batch' | 'sequence'
  /** Where sequences begin, for `sequence`. Default: all tokens are one. */
  starts?: Starts
}

/** The balance loss over all layers of a step. */
export function balanceLoss(
  layers: readonly TokenRouting[],
  convention: BalanceConvention,
  { scope = 'batch', starts }: BalanceScope = {},
): Tensor {
  return tidy(() => {
    if (scope === 'batch') return overLayers(layers, convention)
    return overBatch.here(() => meanOf(sequencesOf(layers, starts).map(each => overLayers(each, convention))))
  })
}

/**
 * The balance loss of one layer whose shares come from a larger batch than its probabilities: counts summed over
 * micro-batches or ranks, probabilities of this one (arXiv:2501.11873; Megatron `global_aux_loss`). Global balance leaves
 * sequences and domains free to specialise.
 *
 * @param counts slots of each expert over the whole batch
 */
export function globalBalanceLoss({ probs, mask }: TokenRouting, counts: readonly number[]): Tensor {
  const { dtype, device } = probs
  return tidy(() => {
    const all = tensor(counts, { dtype, device })
    return weighted(all, all.sum(), probs, mask)
  })
}

/** `E sum_i f_i P_i` of one layer, 1 when balanced whatever K: the `switch` preset. */
export function switchBalanceLoss(routing: TokenRouting): Tensor {
  return balanceLoss([routing], balancePresets.switch)
}

/** The loss of transformers' Mixtral family, K when balanced: the `mixtral-hf` preset. */
export function hfBalanceLoss(layers: readonly TokenRouting[]): Tensor {
  return balanceLoss(layers, balancePresets['mixtral-hf'])
}

function overLayers(layers: readonly TokenRouting[], convention: BalanceConvention): Tensor {
  if (convention.layers === 'together')
    return sumOf(byExperts(layers).map(alike => ofOne(together(alike), convention)))
  const parts = layers.map(layer => ofOne(layer, convention))
  return convention.layers === 'mean' ? meanOf(parts) : sumOf(parts)
}

function ofOne(routing: TokenRouting, { choices, balanced }: BalanceConvention): Tensor {
  const counted = choices === 'first' ? { ...routing, indices: routing.indices.narrow(-1, 0, 1) } : routing
  const counts = overBatch.sum(expertCounts(counted))
  const divisor =
    balanced === 'one' ? counts.sum() : realTokens({ values: routing.probs, mask: routing.mask })
  return weighted(counts, divisor, routing.probs, routing.mask)
}

/** `E sum_i (counts_i / divisor) P_i` */
function weighted(counts: Tensor, divisor: Tensor, probs: Tensor, mask: Tensor | null): Tensor {
  const share = counts.div(divisor.clamp(1))
  return share.mul(meanOverTokens(probs, mask)).sum().mul(counts.numel)
}

/** Layers that have as many experts as each other, each once. */
function byExperts(layers: readonly TokenRouting[]): TokenRouting[][] {
  const numbers = new Set(layers.map(({ probs }) => probs.size(-1)))
  return [...numbers].map(experts => layers.filter(({ probs }) => probs.size(-1) === experts))
}

/** All layers as one batch. */
function together(layers: readonly TokenRouting[]): TokenRouting {
  const [first] = layers
  const of = (pick: (layer: TokenRouting) => Tensor): Tensor => cat(layers.map(pick))
  return {
    kind: 'token',
    indices: of(layer => layer.indices),
    weights: of(layer => layer.weights),
    logits: of(layer => layer.logits),
    probs: of(layer => layer.probs),
    mask: first?.mask ? of(layer => layer.mask as Tensor) : null,
  }
}

/** What all layers decided of each sequence that has tokens. */
function sequencesOf(layers: readonly TokenRouting[], starts: Starts | undefined): TokenRouting[][] {
  const sequences = eachSequence(starts ?? []).filter(({ length }) => length > 0)
  if (sequences.length <= 1) return [[...layers]]
  return sequences.map(({ start, length }) =>
    layers.map(routing => {
      const of = (tensor: Tensor): Tensor => tensor.narrow(0, start, length)
      return {
        ...routing,
        indices: of(routing.indices),
        weights: of(routing.weights),
        logits: of(routing.logits),
        probs: of(routing.probs),
        mask: routing.mask && of(routing.mask),
      }
    }),
  )
}

const sumOf = (terms: readonly Tensor[]): Tensor => terms.reduce((total, term) => total.add(term))
const meanOf = (terms: readonly Tensor[]): Tensor => sumOf(terms).div(terms.length)

const coefficient = z.number().nonnegative()
/** Whether the load is to be balanced over a micro-batch, or within each of its sequences. */
const scope = z.enum(['batch', 'sequence']).default('batch')

const schema = kinds(
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
).prefault({})

/** `losses.balance` in recipes. */
export const balance: LossRow<typeof schema> = {
  schema,
  terms(settings, { layers, starts }) {
    if (settings.kind === 'none' || layers.length === 0) return []
    const { kind, coefficient: weight, scope } = settings
    const preset = balancePresets[kind]
    const convention = kind === 'switch' ? { ...preset, layers: settings.layers } : preset
    return [{ name: 'balance', value: balanceLoss(layers, convention, { scope, starts }), weight }]
  },
}
