// An auxiliary loss as recipes have it: its settings, and what it adds to a step's loss.

import type { z } from 'zod'
import type { Tensor } from '../../torch/index.ts'
import type { Experts } from '../contracts.ts'
import type { TokenRouting } from '../routing/token.ts'
import type { Starts } from '../sequences.ts'

/** What was decided in a step, and what losses may ask beside it. */
export interface Decisions {
  /** In the layers in which tokens choose experts. */
  layers: readonly TokenRouting[]
  /** The experts of these layers, in the same order. */
  experts: readonly Experts[]
  /** In all layers that score experts. */
  scored: readonly Pick<TokenRouting, 'logits' | 'mask'>[]
  /** Where sequences begin among the tokens. */
  starts: Starts
  /** What adapters that are mixtures weighed their experts by, [T, E] of each, where that was kept. */
  mixtures: readonly Tensor[]
  /** The domain of each sequence, where mixtures want to know. */
  domains: readonly string[]
  /** The cross-entropy of each token, [T], computed when asked for. */
  tokenLosses(): Tensor
}

/** A summand: `weight value`. */
export interface LossTerm {
  name: string
  value: Tensor
  weight: number
}

export interface LossRow<S extends z.ZodType> {
  /** A recipe may leave it out. */
  schema: S
  /** None where the settings or the model have no use for the loss; each is computed when the one before was added. */
  terms(settings: z.infer<S>, decisions: Decisions): Iterable<LossTerm>
}

/** The sum of a loss over layers; nothing when its weight is 0, or where there are no layers. */
export function summed(name: string, weight: number, ofLayers: () => readonly Tensor[]): LossTerm[] {
  const values = weight === 0 ? [] : ofLayers()
  return values.length === 0
    ? []
    : [{ name, value: values.reduce((total, value) => total.add(value)), weight }]
}
