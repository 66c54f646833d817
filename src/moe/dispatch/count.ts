// How many slots each expert serves.

import { noGrad, onesLike, type Tensor, tidy, zeros } from '../../torch/index.ts'
import type { Routing, TokenRouting } from '../routing.ts'

/** Filled slots of each expert. */
export function countPerExpert(routing: Routing): number[] {
  switch (routing.kind) {
    case 'token':
      return countIndices(routing.indices, routing.probs.size(-1))
    case 'expert':
      return tidy(() => numbers(routing.tokens.ge(0).sum(-1)))
    case 'soft': {
      const [tokens, experts, slots] = routing.dispatch.shape as [number, number, number]
      return new Array(experts).fill((slots * tokens) / routing.sequenceLength)
    }
  }
}

/** The same where the tokens are, which nobody waits for: [E] in the type of the probabilities, without a gradient. */
export function expertCounts({ indices, probs }: Pick<TokenRouting, 'indices' | 'probs'>): Tensor {
  const { dtype, device } = probs
  return noGrad(() =>
    tidy(() => {
      const places = indices.reshape([-1]).add(1) // first the empty slots (-1)
      const all = zeros([probs.size(-1) + 1], { dtype, device })
      return all.scatterAdd_(0, places, onesLike(places, dtype)).narrow(0, 1, probs.size(-1))
    }),
  )
}

/** How often each of 0 .. count-1 occurs; -1 stands for none. */
export function countIndices(indices: Tensor, numExperts: number): number[] {
  return tidy(() => {
    const counts = indices
      .reshape([-1])
      .add(1)
      .bincount(null, numExperts + 1) // first the empty slots (-1)
    return numbers(counts).slice(1)
  })
}

const numbers = (counts: Tensor): number[] => Array.from(counts.toTypedArray<'i64'>(), Number)
