// Everything mixes: slots of experts are mixtures of tokens.
// Shapes: B sequences of S tokens, T tokens in all, D model, E experts, P slots per expert.

import { type Tensor, tidy, zeros } from '../../torch/index.ts'
import type { Experts } from '../contracts.ts'
import { bySequence, countSequences, type Starts } from '../sequences.ts'
import { meanEntropy } from './entropy.ts'
import type { RouterKind } from './kind.ts'

/** In each sequence every slot of every expert is a mixture of all tokens. */
export interface SoftRouting {
  kind: 'soft'
  /** `[T, E, P]`: a softmax over the tokens of a sequence for each slot. */
  dispatch: Tensor
  /** `[T, E, P]`: a softmax over slots for each token. */
  combine: Tensor
  mask: Tensor | null
  starts: Starts
}

/** What of each token comes from each expert: [T, E]. */
const partsOf = ({ combine }: SoftRouting): Tensor => combine.sum(-1)

export const softKind: RouterKind<SoftRouting> = {
  load({ dispatch, starts }) {
    const [, experts, slots] = dispatch.shape as [number, number, number]
    return new Array(experts).fill(slots * countSequences(starts))
  },
  /** In parts: the tokens whose output an expert gave. */
  loadByDomain(served, domains, numDomains) {
    const parts = partsOf(served).double()
    const sums = zeros([numDomains, parts.size(-1)], { dtype: 'f64', device: parts.device })
    return sums.indexAdd(0, domains, parts)
  },
  dropped: () => 0,
  entropy: chosen => tidy(() => meanEntropy({ probs: partsOf(chosen), mask: chosen.mask })),
  mix: (x, chosen, { experts }) => ({ y: mixSlots(x, chosen, experts), served: chosen }),
}

/**
 * `y = C experts(D^T x)` in each sequence: every slot is a mixture of its tokens, every output a mixture of its slots
 * (arXiv:2308.00951 eq. 1-2).
 */
function mixSlots(xTD: Tensor, { dispatch, combine, starts }: SoftRouting, experts: Experts): Tensor {
  const [, numExperts, slots] = dispatch.shape as [number, number, number]
  const width = xTD.size(-1)
  return bySequence(starts, xTD.mul(0), ({ sequences, start, length }) => {
    const rows = (tensor: Tensor, columns: number): Tensor =>
      tensor.narrow(0, start, sequences * length).view([sequences, length, columns])
    const mixture = rows(dispatch, numExperts * slots)
      .transpose(1, 2)
      .to(xTD.dtype) // [B, E*P, S]
    const inputs = mixture.matmul(rows(xTD, width)).view([sequences, numExperts, slots, width])
    const byExpert = inputs.transpose(0, 1).flatten(0, 2) // [E*B*P, D]
    const outputs = experts.grouped(byExpert, new Array(numExperts).fill(sequences * slots))
    const bySlot = outputs.view([numExperts, sequences, slots, width]).transpose(0, 1).flatten(1, 2) // [B, E*P, D]
    const mixed = rows(combine, numExperts * slots)
      .to(outputs.dtype)
      .matmul(bySlot) // [B, S, D]
    return mixed.view([sequences * length, width])
  })
}
