// The price of wide experts: what a token's choice costs, and a loss that lowers it.
// Shapes: T tokens, E experts, K chosen per token.

import { ConfigError } from '../../errors.ts'
import { noGrad, type Tensor, tensor, tidy } from '../../torch/index.ts'
import { countPerExpert } from '../dispatch/count.ts'
import { meanOverTokens } from '../losses/mean.ts'
import type { TokenRouting } from '../routing.ts'

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
    const meanWidth = widths.reduce((sum, width) => sum + width, 0) / widths.length
    const tokens = Math.max(1, realTokens(routing))
    const cost = countPerExpert(routing).map((count, e) => ((count / tokens) * (widths[e] ?? 0)) / meanWidth) // M
    const costE = tensor(cost, { dtype: probs.dtype, device: probs.device })
    return costE.mul(meanOverTokens(probs, routing.mask)).sum().mul(widths.length)
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

function realTokens({ probs, mask }: TokenRouting): number {
  return mask === null ? probs.size(0) : mask.sum().item()
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
