// Balance in other forms: among groups of experts, and the textbook's squares.
// Shapes: T tokens, E experts, G groups of experts.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { noGrad, type Tensor, tidy } from '../../torch/index.ts'
import { meanOverTokens } from '../routing/mean.ts'
import { overBatch } from '../routing/over-batch.ts'
import { expertCounts, type TokenRouting } from '../routing/token.ts'
import { type LossRow, summed } from './row.ts'

/** Each expert's share of all choices, without a gradient: [E], summing to one. */
function sharesOf(routing: TokenRouting): Tensor {
  const counts = overBatch.sum(expertCounts(routing))
  return noGrad(() => counts.div(counts.sum().clamp(1)))
}

/**
 * Balance among groups of experts that lie on one device, `sum_g f_g P_g` with `f_g` the mean share of its experts times E
 * and `P_g` the sum of their probabilities (DeepSeekMoE, arXiv:2401.06066 equations 15-17): 1 when balanced.
 *
 * @param groups number of groups of consecutive experts
 */
export function deviceBalanceLoss(routing: TokenRouting, groups: number): Tensor {
  return tidy(() => {
    const shares = sharesOf(routing)
    if (shares.numel % groups !== 0)
      throw new ConfigError(`must divide the ${shares.numel} experts, got ${groups}`, {
        path: 'losses.deviceBalance.groups',
      })
    const f = shares.mul(shares.numel).view([groups, -1]).mean(1) // [G]
    const p = meanOverTokens(routing.probs, routing.mask).view([groups, -1]).sum(1) // [G]
    return f.mul(p).sum()
  })
}

const deviceSchema = z
  .strictObject({ groups: z.int().positive(), coefficient: z.number().nonnegative().default(0.05) })
  .optional()

/** `losses.deviceBalance` in recipes. */
export const deviceBalanceRow: LossRow<typeof deviceSchema> = {
  schema: deviceSchema,
  terms: (settings, { layers }) =>
    settings
      ? summed('deviceBalance', settings.coefficient, () =>
          layers.map(layer => deviceBalanceLoss(layer, settings.groups)),
        )
      : [],
}

/**
 * The textbook's `sum_i (f_i - 1/E)^2` in the two forms in which it trains. As written `f` is a count, and has no
 * gradient.
 *
 * - `soft`: probabilities in place of counts. Even probabilities satisfy it while every token chooses one expert.
 * - `straight-through`: counts forward, the gradient of probabilities backward. `2/E` of the Switch loss's gradient.
 */
export function squaredBalanceLoss(routing: TokenRouting, form: 'soft' | 'straight-through'): Tensor {
  return tidy(() => {
    const p = meanOverTokens(routing.probs, routing.mask) // [E]
    const shares = form === 'soft' ? p : noGrad(() => sharesOf(routing).sub(p)).add(p)
    return shares
      .sub(1 / p.numel)
      .square()
      .sum()
  })
}

const squaredSchema = z
  .strictObject({
    form: z.enum(['soft', 'straight-through']).default('straight-through'),
    coefficient: z.number().nonnegative().default(0.01),
  })
  .optional()

/** `losses.squaredBalance` in recipes. */
export const squaredBalanceRow: LossRow<typeof squaredSchema> = {
  schema: squaredSchema,
  terms: (settings, { layers }) =>
    settings
      ? summed('squaredBalance', settings.coefficient, () =>
          layers.map(layer => squaredBalanceLoss(layer, settings.form)),
        )
      : [],
}
