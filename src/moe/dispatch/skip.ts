// Fewer experts than were chosen, at inference: the heaviest, or all but those that count little (arXiv:2402.14800 section 3.3).
// Shapes: T tokens, K slots per token.

import { arange, noGrad, type Tensor, tidy, where } from '../../torch/index.ts'
import { emptied } from '../routing/slots.ts'
import type { TokenRouting } from '../routing/token.ts'

/**
 * Empties slots whose weight is below `beta` times the token's largest; what stays is rescaled to the sum that the
 * token's weights had. 0 changes nothing, above 1 leaves one expert per token.
 */
export function skipWeak(routing: TokenRouting, beta: number): TokenRouting {
  return tidy(() => {
    const { weights } = routing
    const largest = weights.amax([-1], true) // [T, 1]
    return withSumOf(routing, emptied(routing, firstOrStrong(weights, largest, beta).logicalNot()))
  })
}

/**
 * The `count` slots of each token that count most, which a bias that balances need not have put first; what stays is rescaled to
 * the sum that the token's weights had.
 */
export function keepHeaviest(routing: TokenRouting, count: number): TokenRouting {
  const { indices, weights } = routing
  if (count >= weights.size(-1)) return routing
  return tidy(() => {
    const [, slots] = weights.detach().topk(count, -1) // [T, count]
    return withSumOf(routing, {
      ...routing,
      indices: indices.gather(-1, slots),
      weights: weights.gather(-1, slots),
    })
  })
}

/**
 * The same with a number of slots for each token, i64 [T]; a token that may keep all of its slots is left as it is, to the last
 * bit.
 */
export function keepMost(routing: TokenRouting, most: Tensor): TokenRouting {
  const { indices, weights } = routing
  const slots = weights.size(-1)
  return tidy(() => {
    const [, order] = weights.detach().topk(slots, -1) // [T, K], heaviest first
    const isLeft = arange(0, slots, 1, { device: most.device }).ge(most.unsqueeze(-1)) // [T, K]
    const kept = withSumOf(routing, {
      ...routing,
      indices: indices.gather(-1, order).maskedFill(isLeft, -1),
      weights: weights.gather(-1, order).maskedFill(isLeft, 0),
    })
    const isWhole = most.ge(slots).unsqueeze(-1)
    return {
      ...routing,
      indices: where(isWhole, indices, kept.indices),
      weights: where(isWhole, weights, kept.weights),
    }
  })
}

function withSumOf({ weights }: TokenRouting, kept: TokenRouting): TokenRouting {
  const scale = weights.sum(-1, true).div(kept.weights.sum(-1, true).clamp(1e-20)) // [T, 1]
  return { ...kept, weights: kept.weights.mul(scale) }
}

function firstOrStrong(weights: Tensor, largest: Tensor, beta: number): Tensor {
  return noGrad(() => {
    const isLargest = weights.eq(largest)
    const isFirst = isLargest.logicalAnd(isLargest.cumsum(-1).eq(1))
    return isFirst.logicalOr(weights.ge(largest.mul(beta)))
  })
}

/** The beta that skips half of the second experts of recorded routings: the median of second over first weight. */
export function medianRatio(routings: readonly TokenRouting[]): number {
  const ratios = routings.flatMap(({ weights }) =>
    tidy(() => {
      const [first, second] = [weights.select(-1, 0), weights.select(-1, 1)]
      const both = second.gt(0) // padding and tokens of one expert have no ratio
      return Array.from(second.div(first).maskedSelect(both).double().toTypedArray<'f64'>())
    }),
  )
  const sorted = ratios.sort((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? 0
}
