// How undecided tokens are.
// Shapes: T tokens, E experts.

import { noGrad, type Tensor, tidy } from '../../torch/index.ts'
import { meanOverTokens } from './mean.ts'
import type { TokenRouting } from './token.ts'

/** Mean entropy of real tokens' probabilities [T, E], in nats. */
export function meanEntropy({ probs, mask }: { probs: Tensor; mask: Tensor | null }): number {
  return noGrad(() =>
    tidy(() => {
      const perToken = probs.mul(probs.clamp(1e-30).log()).sum(-1).neg() // [T]
      const real = mask === null ? perToken : perToken.maskedSelect(mask)
      return real.numel === 0 ? 0 : real.mean().item()
    }),
  )
}

/** Mean entropy of the tokens' probabilities, in nats: minimised, tokens decide; weighed negatively, they stay open. */
export function entropyLoss({ probs, mask }: Pick<TokenRouting, 'probs' | 'mask'>): Tensor {
  return tidy(() => {
    const perToken = probs.mul(probs.clamp(1e-30).log()).sum(-1, true).neg()
    return meanOverTokens(perToken, mask).sum()
  })
}
