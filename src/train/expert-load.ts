// How much each expert did for each domain.
// Shapes: T tokens, D domains, E experts, K chosen per token, C tokens per expert.

import type { Routing } from '../moe/index.ts'
import { arange, type Tensor, tidy, zeros } from '../torch/index.ts'

/**
 * Slots served, [D, E]. Where everything mixes, the tokens whose output an expert gave, in parts.
 *
 * @param domains i64 [T]
 */
export function expertLoad(served: Routing, domains: Tensor, numDomains: number): Tensor {
  return tidy(() => {
    switch (served.kind) {
      case 'token': {
        const { indices } = served // [T, K]
        return countPairs(domains.unsqueeze(-1), indices, indices.ge(0), numDomains, served.logits.size(-1))
      }
      case 'expert': {
        const { tokens } = served // [E, C]
        const experts = arange(0, tokens.size(0), 1, { device: tokens.device }).unsqueeze(-1)
        const owners = domains.indexSelect(0, tokens.clamp(0).reshape([-1])).view(tokens.shape)
        return countPairs(owners, experts, tokens.ge(0), numDomains, tokens.size(0))
      }
      case 'soft': {
        const parts = served.combine.sum(-1).double() // [T, E]
        const sums = zeros([numDomains, parts.size(-1)], { dtype: 'f64', device: parts.device })
        return sums.indexAdd(0, domains, parts)
      }
    }
  })
}

/** How often each domain meets each expert where `counts` is true. */
function countPairs(
  domains: Tensor,
  experts: Tensor,
  counts: Tensor,
  numDomains: number,
  numExperts: number,
): Tensor {
  const codes = domains.mul(numExperts).add(experts)
  return codes
    .maskedSelect(counts)
    .bincount(null, numDomains * numExperts)
    .view([numDomains, numExperts])
}
