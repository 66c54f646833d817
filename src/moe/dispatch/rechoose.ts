// Other experts than a router chose, weighed by what it thought of them.
// Shapes: T tokens, E experts, K slots per token.

import { arange, noGrad, type Tensor, tidy, where, zeros } from '../../torch/index.ts'
import type { TokenRouting } from '../routing/token.ts'

/**
 * The routing with other experts in its slots: `w_j = s p_j / sum_j p_j`, p being the router's probabilities and s what the
 * token's weights summed to. Tokens whose experts stay the same are left as they are.
 *
 * @param indices i64 [T, K], -1 where a slot is to hold none
 */
export function rechosen(routing: TokenRouting, indices: Tensor): TokenRouting {
  return tidy(() => {
    const { probs, weights } = routing
    const likely = probs.gather(-1, indices.clamp(0)).maskedFill(indices.lt(0), 0) // [T, K]
    const scale = weights.sum(-1, true).div(likely.sum(-1, true).clamp(1e-20)) // [T, 1]
    const stays = indices.eq(routing.indices).all(-1, true) // [T, 1]
    return { ...routing, indices, weights: where(stays, weights, likely.mul(scale).to(weights.dtype)) }
  })
}

/**
 * Where a token's experts are not all among those that may be chosen, these make room for the likeliest that are. A router that
 * chooses by its probabilities chooses so when it is asked for these alone.
 *
 * @param among bool [E], true for K experts at least
 */
export function chosenAmong(routing: TokenRouting, among: Tensor): TokenRouting {
  const indices = noGrad(() =>
    tidy(() => {
      const { indices, probs } = routing
      const slots = indices.size(-1)
      const isFilled = indices.ge(0) // [T, K]
      const isAbsent = isFilled.logicalAnd(among.take(indices.clamp(0)).logicalNot()) // [T, K]
      const scores = probs.detach().add(rankOfChosen(indices, probs)).maskedFill(among.logicalNot(), -1) // [T, E]
      const others = scores.sort(-1, true)[1].narrow(-1, 0, slots) // [T, K]
      const isBeyond = arange(slots).ge(isFilled.sum(-1, true)) // a token gets no more experts than it chose
      return where(isAbsent.any(-1, true), others.maskedFill(isBeyond, -1), indices)
    }),
  )
  return rechosen(routing, indices)
}

/** `[T, E]`: for experts that were chosen more than any probability, the first most; else 0. */
function rankOfChosen(indices: Tensor, { dtype, shape }: Tensor): Tensor {
  const [tokens, experts] = shape as [number, number]
  return tidy(() => {
    const ranks = arange(2 * indices.size(-1), 0, -2)
      .to(dtype)
      .expand(indices.shape) // [T, K]
    const all = zeros([tokens, experts + 1], { dtype }) // first the empty slots (-1)
    return all.scatterAdd_(-1, indices.add(1), ranks).narrow(-1, 1, experts)
  })
}
