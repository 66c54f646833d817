// The price of wide experts: what a token's choice costs, and a loss that lowers it.
// Shapes: T tokens, E experts, K chosen per token.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { noGrad, type Tensor, tensor, tidy } from '../../torch/index.ts'
import { HeterogeneousExperts } from '../experts/heterogeneous.ts'
import { sum } from '../routing/counts.ts'
import { meanOverTokens, realTokens } from '../routing/mean.ts'
import { overBatch } from '../routing/over-batch.ts'
import { expertCounts, type TokenRouting } from '../routing/token.ts'
import { type LossRow, summed } from './row.ts'

/**
 * `E sum_i M_i P_i` with `M_i = mean_t 1[t chose i] * width_i / mean(width)` and `P_i` the mean probability of expert i
 * (the parameter penalty of arXiv:2408.10681; there without the mean width, which is divided out so that
 * one coefficient suits all sizes). The gradient flows through P: it lowers the experts that are wide and busy.
 *
 * Equal widths leave K times switchBalanceLoss(), because then `M_i = K f_i`; it is K when balanced. Padding counts
 * nowhere.
 *
 * @param widths of the experts, in any unit: HeterogeneousExperts' `widths` or `sizes`
 * @throws ConfigError unless there is one positive width for each expert
 */
export function parameterPenalty(routing: TokenRouting, widths: readonly number[]): Tensor {
  checkWidths(widths, routing)
  return tidy(() => {
    const { probs } = routing
    const meanWidth = sum(widths) / widths.length
    const { dtype, device } = probs
    const prices = tensor(widths, { dtype, device }) // [E]
    const tokens = realTokens({ values: probs, mask: routing.mask }).clamp(1)
    const cost = noGrad(() => overBatch.sum(expertCounts(routing)).div(tokens).mul(prices).div(meanWidth)) // M: [E]
    return cost.mul(meanOverTokens(probs, routing.mask)).sum().mul(widths.length)
  })
}

/**
 * What each token's experts add up to: [T], in the unit of `widths` and in f64 - with `sizes`, its active parameters. 0
 * for padding.
 *
 * @throws ConfigError unless there is one positive width for each expert
 */
export function chosenWidths(routing: TokenRouting, widths: readonly number[]): Tensor {
  checkWidths(widths, routing)
  return noGrad(() =>
    tidy(() => {
      const { indices } = routing
      const price = tensor([0, ...widths], { dtype: 'f64', device: indices.device }) // first the empty slots (-1)
      const slots = price.indexSelect(0, indices.reshape([-1]).add(1))
      return slots.view(indices.shape).sum(-1)
    }),
  )
}

function checkWidths(widths: readonly number[], { logits }: TokenRouting): void {
  const numExperts = logits.size(-1)
  if (widths.length !== numExperts) {
    throw new ConfigError(`there are ${widths.length} widths for ${numExperts} experts; give one for each`, {
      path: 'widths',
    })
  }
  const bad = widths.findIndex(width => !(width > 0 && Number.isFinite(width)))
  if (bad < 0) return
  throw new ConfigError(`must be above 0, got ${widths[bad]}`, { path: `widths.${bad}` })
}

const schema = z.number().nonnegative().optional()

/** `losses.parameterPenalty` in recipes: its coefficient. Experts of one kind are all equally wide. */
export const parameterPenaltyRow: LossRow<typeof schema> = {
  schema,
  terms: (weight = 0, { layers, experts }) =>
    summed('parameterPenalty', weight, () =>
      layers.map((layer, i) => {
        const own = experts[i]
        const equal = new Array<number>(layer.probs.size(-1)).fill(1)
        return parameterPenalty(layer, own instanceof HeterogeneousExperts ? own.sizes : equal)
      }),
    ),
}
