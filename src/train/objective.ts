// What training minimises: cross-entropy and the router's auxiliary losses, each by name.

import { z } from 'zod'
import { invariant } from '../errors.ts'
import {
  EncoderDecoderLM,
  type LayerRouting,
  SoftGate,
  type Tokens,
  type TrainableModel,
  tokenRoutings,
  tokensOf,
} from '../models/index.ts'
import { type Decisions, lossFields, lossTerms, MoeLayer } from '../moe/index.ts'
import type { Module } from '../nn/index.ts'
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
  /** What an encoder-decoder's encoder reads, of which `inputs` and targets are the decoder's; null for other models. */
  source?: Tokens | null
  /** What the loss is a mean over, where batches differ in that: targets that count, or pairs. Default: as many in each. */
  scored?: number
  /** The domain of each sequence, for losses that tell them apart. Default: none is told. */
  sampleDomains?: readonly string[]
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

/** What reads the same tokens: a whole model, or one side of an encoder-decoder. */
export interface Side {
  routings: LayerRouting[]
  readers: readonly Module[]
  starts: readonly number[]
}

/**
 * Balance and routers' own losses are of layers in which tokens choose; the z-loss of all that score experts. Each is computed of
 * either side of an encoder-decoder, and added up.
 *
 * @param preference what is learnt of pairs. Default: every target, as likely as can be
 */
export function computeObjective(
  model: TrainableModel,
  batch: Batch,
  losses: Losses,
  preference: Preference | null = null,
): Objective {
  const main = preference ? preferenceObjective(model, batch, preference) : likelihood(model, batch)
  const { hidden, sides } = main
  const terms: Record<string, Tensor> = main.terms
  let { total } = main
  if (losses.labelSmoothing > 0) {
    const margin = model.targetMargin(hidden, batch.targets)
    terms.targetMargin = margin
    total = total.add(margin, losses.labelSmoothing)
  }
  for (const side of sides) {
    const decisions = {
      ...decisionsOf(side, () => model.tokenLosses(hidden, batch.targets)),
      domains: batch.sampleDomains ?? [],
    }
    for (const { name, value, weight } of lossTerms(losses, decisions)) {
      terms[name] = terms[name]?.add(value) ?? value
      total = total.add(value, weight)
    }
  }
  return { total, terms, routings: sides.flatMap(({ routings }) => routings) }
}

function decisionsOf(
  { routings, readers, starts }: Side,
  tokenLosses: () => Tensor,
): Omit<Decisions, 'domains'> {
  const modules = readers.flatMap(reader => [...reader.namedModules()].map(([, part]) => part))
  return {
    layers: tokenRoutings(routings),
    experts: modules.flatMap(part => (part instanceof MoeLayer ? part.experts : [])),
    mixtures: modules.flatMap(part => (part instanceof SoftGate ? (part.taken() ?? []) : [])),
    scored: routings.flatMap(({ chosen }) => ('logits' in chosen ? chosen : [])),
    starts,
    tokenLosses,
  }
}

/** What is learnt of the text itself, with what it was learnt from. */
export interface MainObjective extends Omit<Objective, 'routings'> {
  hidden: Tensor
  sides: Side[]
}

function likelihood(model: TrainableModel, { source, inputs, targets }: Batch): MainObjective {
  if (model instanceof EncoderDecoderLM) {
    invariant(source, 'an encoder-decoder learns from batches with sources')
    const { loss, hidden, routings } = model.loss(source, inputs, targets)
    // What the encoder's side takes of gates that read sources is no more there for the decoder's, whose modules they are.
    const sides = [
      {
        routings: routings.encoder,
        readers: [model.encoder, ...model.sourceReaders],
        starts: source.starts,
      },
      { routings: routings.decoder, readers: [model.decoder], starts: inputs.starts },
    ]
    return { total: loss, terms: { crossEntropy: loss }, hidden, sides }
  }
  const { loss, hidden, routings } = model.loss(inputs, targets)
  const sides = [{ routings, readers: [model], starts: inputs.starts }]
  return { total: loss, terms: { crossEntropy: loss }, hidden, sides }
}
