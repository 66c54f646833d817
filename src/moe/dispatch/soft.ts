// Dispatch and combine of Soft MoE.
// Shapes: T tokens, D model, E experts, P slots per expert.

import type { Tensor } from '../../torch/index.ts'
import type { Experts } from '../experts/experts.ts'
import type { SoftRouting } from '../routing.ts'

/** `y = C experts(D^T x)`: every slot is a mixture of tokens, every output a mixture of slots (arXiv:2308.00951 eq. 1-2). */
export function mixSoft(xTD: Tensor, { dispatch, combine }: SoftRouting, experts: Experts): Tensor {
  const [tokens, numExperts, slots] = dispatch.shape as [number, number, number]
  const inputs = dispatch
    .view([tokens, numExperts * slots])
    .t()
    .to(xTD.dtype)
    .matmul(xTD) // [E*P, D]
  const outputs = experts.forward(inputs, new Array(numExperts).fill(slots))
  return combine
    .view([tokens, numExperts * slots])
    .to(outputs.dtype)
    .matmul(outputs)
}
