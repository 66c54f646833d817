// Losses on what a router computes, beside balance: small logits, decided tokens, experts that differ.
// Shapes: T tokens, E experts.

import { z } from 'zod'
import { type Tensor, tidy } from '../../torch/index.ts'
import { entropyLoss } from '../routing/entropy.ts'
import { meanOverTokens } from '../routing/mean.ts'
import type { TokenRouting } from '../routing/token.ts'
import { type LossRow, summed } from './row.ts'

/** `mean_t (logsumexp_i z_ti)^2`, which keeps router logits small (arXiv:2202.08906 equation 5). */
export function routerZLoss({ logits, mask }: Pick<TokenRouting, 'logits' | 'mask'>): Tensor {
  return tidy(() => meanOverTokens(logits.logsumexp([-1], true).square(), mask).sum())
}

/** A number is its coefficient. `mean` over layers is transformers' form, in which all layers are one batch. */
const zSchema = z
  .preprocess(
    value => (typeof value === 'number' ? { coefficient: value } : value),
    z.strictObject({
      coefficient: z.number().nonnegative().default(0.001),
      layers: z.enum(['sum', 'mean']).default('sum'),
    }),
  )
  .prefault({})

/** `losses.z` in recipes: over all layers that score experts. */
export const zRow: LossRow<typeof zSchema> = {
  schema: zSchema,
  terms: ({ coefficient, layers }, { scored }) =>
    summed('z', coefficient, () => {
      const each = scored.map(routerZLoss)
      return layers === 'sum' ? each : each.map(loss => loss.div(each.length))
    }),
}

const entropySchema = z.number().optional()

/** `losses.entropy` in recipes: its coefficient, of either sign. */
export const entropyRow: LossRow<typeof entropySchema> = {
  schema: entropySchema,
  terms: (weight = 0, { layers }) => summed('entropy', weight, () => layers.map(entropyLoss)),
}

/**
 * Minus the variance over tokens of each expert's probability, averaged: minimised, experts tell tokens apart
 * (arXiv:2505.22323).
 */
export function varianceLoss({ probs, mask }: TokenRouting): Tensor {
  return tidy(() => {
    const mean = meanOverTokens(probs, mask)
    return meanOverTokens(probs.sub(mean).square(), mask).mean().neg()
  })
}

const varianceSchema = z.number().nonnegative().optional()

/** `losses.variance` in recipes: its coefficient. */
export const varianceRow: LossRow<typeof varianceSchema> = {
  schema: varianceSchema,
  terms: (weight = 0, { layers }) => summed('variance', weight, () => layers.map(varianceLoss)),
}
