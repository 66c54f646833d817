// Tokens choose experts.
// Shapes: T tokens, E experts, K chosen per token.

import { noGrad, onesLike, type Tensor, tidy, zeros } from '../../torch/index.ts'
import { countIndices, countPairs, sum, unserved } from './counts.ts'
import { meanEntropy } from './entropy.ts'
import type { RouterKind } from './kind.ts'
import { emptied } from './slots.ts'

/** Each token chose experts. */
export interface TokenRouting {
  kind: 'token'
  /** i64 [T, K]: the experts of each token, best first; -1 where a slot holds none. */
  indices: Tensor
  /** `[T, K]`: what each expert's output counts; 0 where a slot holds none. Carries the router's task gradient. */
  weights: Tensor
  /** `[T, E]`: the router's raw scores, f32 or wider. */
  logits: Tensor
  /** `[T, E]`: the logits as probabilities: their softmax, or what the router has in its place, summing to one. */
  probs: Tensor
  /** bool [T]: false for padding, which is neither routed nor counted. Null: every token is real. */
  mask: Tensor | null
  /** `[T]`: what the router expects of each token, where that is learnt. */
  value?: Tensor
  /** Losses that are this router's own, by name, unweighted. */
  losses?: Readonly<Record<string, Tensor>>
}

export const tokenKind: RouterKind<TokenRouting> = {
  load: ({ indices, probs }) => countIndices(indices, probs.size(-1)),
  loadByDomain: ({ indices, logits }, domains, numDomains) =>
    countPairs(domains.unsqueeze(-1), indices, indices.ge(0), numDomains, logits.size(-1)),
  dropped: (chosen, served) => unserved(sum(tokenKind.load(chosen)), sum(tokenKind.load(served))),
  entropy: meanEntropy,
  mix: (x, chosen, { dispatch, experts, ...context }) => dispatch.mix(x, chosen, experts, context),
}

/** The load where the tokens are, which nobody waits for: [E] in the type of the probabilities, without a gradient. */
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

/** Empties the slots of padding tokens. */
export function withoutPadding(routing: TokenRouting): TokenRouting {
  return routing.mask === null ? routing : emptied(routing, routing.mask.logicalNot().unsqueeze(-1))
}
