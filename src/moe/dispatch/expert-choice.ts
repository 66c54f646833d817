// Dispatch and combine where experts chose tokens.
// Shapes: T tokens, D model, E experts, C tokens per expert, N filled slots.

import { embedding, noGrad, type Tensor, tidy, zeros } from '../../torch/index.ts'
import type { Experts } from '../experts/experts.ts'
import type { ExpertRouting } from '../routing.ts'

/** `y_t = sum over the experts that chose t of weight * expert(x_t)` (arXiv:2202.09368 section 3.2). */
export function mixExpertChoice(xTD: Tensor, { tokens, weights }: ExpertRouting, experts: Experts): Tensor {
  const { slotN, tokenN, counts } = noGrad(() =>
    tidy(() => {
      const filled = tokens.ge(0) // [E, C]
      const slotN = filled.reshape([-1]).nonzero().squeeze(-1)
      return {
        slotN,
        tokenN: tokens.reshape([-1]).indexSelect(0, slotN),
        counts: Array.from(filled.sum(-1).toTypedArray<'i64'>(), Number),
      }
    }),
  )
  const yND = experts.forward(embedding(xTD, tokenN), counts)
  const weightsN1 = weights.reshape([-1]).indexSelect(0, slotN).unsqueeze(-1).to(yND.dtype)
  const sum = zeros(xTD.shape, { dtype: yND.dtype, device: yND.device })
  return sum.indexAdd(0, tokenN, yND.mul(weightsN1))
}
