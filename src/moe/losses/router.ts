// Losses on what a router computes, beside balance: small logits, decided tokens, experts that differ.
// Shapes: T tokens, E experts.

import { z } from 'zod'
import { type Tensor, tidy } from '../../torch/index.ts'
import type { TokenRouting } from '../routing/token.ts'
import { meanOverTokens } from './mean.ts'
import { type LossRow, summed } from './row.ts'

/** `mean_t (logsumexp_i z_ti)^2`, which keeps router logits small (arXiv:2202.08906 equation 5). */
export function routerZLoss({ logits, mask }: Pick<TokenRouting, 'logits' | 'mask'>): Tensor {
  return tidy(() => meanOverTokens(logits.logsumexp([-1], true).square(), mask).sum())
}

const zSchema = z.number().nonnegative().default(0.001)

/** `losses.z` in recipes: its coefficient, over all layers that score experts. */
export const zRow: LossRow<typeof zSchema> = {
  schema: zSchema,
  terms: (weight, { scored }) => summed('z', weight, () => scored.map(routerZLoss)),
}

/** Mean entropy of the tokens' probabilities, in nats: minimised, tokens decide; weighed negatively, they stay open. */
export function entropyLoss({ probs, mask }: Pick<TokenRouting, 'probs' | 'mask'>): Tensor {
  return tidy(() => {
    const perToken = probs.mul(probs.clamp(1e-30).log()).sum(-1, true).neg()
    return meanOverTokens(perToken, mask).sum()
  })
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
