// No token left behind: what finds its expert full tries the next best one.
// Shapes: T tokens, E experts, K slots per token.

import { noGrad, type Tensor, tensor, tidy, where, zeros } from '../../torch/index.ts'
import { type TokenRouting, tokenKind } from '../routing/token.ts'

/**
 * Fills empty slots with the token's best expert that it has not tried and that has room, earlier tokens first, weighed
 * by its probability (Mesh-TensorFlow, `ntlb_top_2` family; arXiv:2101.03961 appendix B).
 *
 * @param chosen what the router wanted
 * @param kept what capacity left of it
 * @param retries experts that a token may try
 */
export function rerouteOverflow(
  chosen: TokenRouting,
  kept: TokenRouting,
  capacity: number,
  retries: number,
): TokenRouting {
  return tidy(() => {
    let routing = kept
    const tried = triedExperts(chosen)
    const wanted = chosen.indices.ge(0) // slots that the router left empty stay so
    for (let retry = 0; retry < retries; retry++) routing = retryOnce(routing, wanted, tried, capacity)
    return routing
  })
}

/** bool [T, E]: true where a token wanted an expert. */
function triedExperts({ indices, probs }: TokenRouting): Tensor {
  return noGrad(() => {
    const [tokens, experts] = probs.shape as [number, number]
    // One more column takes the empty slots.
    const columns = indices.add(indices.lt(0).mul(experts + 1))
    return zeros([tokens, experts + 1], { dtype: 'bool', device: probs.device })
      .scatter_(1, columns, 1)
      .narrow(1, 0, experts)
  })
}

/** One retry for every token that lost a slot; `tried` gains what was tried. */
function retryOnce(routing: TokenRouting, wanted: Tensor, tried: Tensor, capacity: number): TokenRouting {
  const { indices, weights, probs } = routing
  const { slotTK, bestT1 } = noGrad(() => {
    const emptyTK = indices.lt(0).logicalAnd(wanted)
    const firstTK = emptyTK.logicalAnd(emptyTK.cumsum(-1).eq(1)) // each token's first empty slot
    const best = probs.maskedFill(tried, -1).max(-1, true)
    const hasMoreT1 = best[0].ge(0)
    const needyT1 = emptyTK.any(-1, true).logicalAnd(hasMoreT1)
    const room = tensor(tokenKind.load(routing).map(count => BigInt(capacity - count))).to(probs.device) // [E]
    const wantsTE = zeros(probs.shape, { dtype: 'i64', device: probs.device }).scatter_(
      1,
      best[1],
      needyT1.long(),
    )
    const fitsTE = wantsTE.cumsum(0).le(room).logicalAnd(wantsTE.to('bool'))
    tried.logicalOr_(wantsTE.to('bool'))
    return { slotTK: firstTK.logicalAnd(fitsTE.any(-1, true)), bestT1: best[1] }
  })
  return {
    ...routing,
    indices: where(slotTK, bestT1, indices),
    weights: where(slotTK, probs.gather(-1, bestT1).to(weights.dtype), weights),
  }
}
