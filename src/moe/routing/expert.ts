// Experts choose tokens.
// Shapes: T tokens, D model, E experts, C tokens per expert, N filled slots.

import { arange, embedding, noGrad, type Tensor, tidy, zeros } from '../../torch/index.ts'
import type { Experts } from '../contracts.ts'
import { countPairs, numbers, occurrences, unserved } from './counts.ts'
import { meanEntropy } from './entropy.ts'
import type { RouterKind } from './kind.ts'

/** Each expert chose tokens. */
export interface ExpertRouting {
  kind: 'expert'
  /** i64 [E, C]: the tokens of each expert; -1 where a slot holds none. */
  tokens: Tensor
  /** `[E, C]`: what the expert's output counts for the token; 0 where a slot holds none. */
  weights: Tensor
  /** [T, E] */
  logits: Tensor
  /** [T, E] */
  probs: Tensor
  /** bool [T] */
  mask: Tensor | null
}

export const expertKind: RouterKind<ExpertRouting> = {
  load: ({ tokens }) => tidy(() => numbers(tokens.ge(0).sum(-1))),
  loadByDomain({ tokens }, domains, numDomains) {
    const experts = arange(0, tokens.size(0), 1, { device: tokens.device }).unsqueeze(-1)
    const owners = domains.indexSelect(0, tokens.clamp(0).reshape([-1])).view(tokens.shape)
    return countPairs(owners, experts, tokens.ge(0), numDomains, tokens.size(0))
  },
  dropped: passedOver,
  entropy: meanEntropy,
  mix: (x, chosen, { experts }) => ({ y: mixChosen(x, chosen, experts), served: chosen }),
}

/** Share of real tokens that no expert took. */
function passedOver({ tokens, probs, mask }: ExpertRouting): number {
  return noGrad(() =>
    tidy(() => {
      const real = mask === null ? probs.size(0) : mask.sum().item()
      return unserved(real, occurrences(tokens, probs.size(0)).ne(0).sum().item())
    }),
  )
}

/** `y_t = sum over the experts that chose t of weight * expert(x_t)` (arXiv:2202.09368 section 3.2). */
function mixChosen(xTD: Tensor, { tokens, weights }: ExpertRouting, experts: Experts): Tensor {
  const { slotN, tokenN, counts } = noGrad(() =>
    tidy(() => {
      const filled = tokens.ge(0) // [E, C]
      const slotN = filled.reshape([-1]).nonzero().squeeze(-1)
      const tokenN = tokens.reshape([-1]).indexSelect(0, slotN)
      return { slotN, tokenN, counts: numbers(filled.sum(-1)) }
    }),
  )
  const yND = experts.grouped(embedding(xTD, tokenN), counts)
  const weightsN1 = weights.reshape([-1]).indexSelect(0, slotN).unsqueeze(-1).to(yND.dtype)
  const sum = zeros(xTD.shape, { dtype: yND.dtype, device: yND.device })
  return sum.indexAdd(0, tokenN, yND.mul(weightsN1))
}
