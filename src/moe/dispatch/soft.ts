// Dispatch and combine of Soft MoE.
// Shapes: B sequences of S tokens, T = B S tokens, D model, E experts, P slots per expert.

import type { Tensor } from '../../torch/index.ts'
import type { Experts } from '../experts/experts.ts'
import type { SoftRouting } from '../routing.ts'

/**
 * `y = C experts(D^T x)` in each sequence: every slot is a mixture of its tokens, every output a mixture of its slots
 * (arXiv:2308.00951 eq. 1-2).
 */
export function mixSoft(
  xTD: Tensor,
  { dispatch, combine, sequenceLength }: SoftRouting,
  experts: Experts,
): Tensor {
  const [tokens, numExperts, slots] = dispatch.shape as [number, number, number]
  const [sequences, width] = [tokens / sequenceLength, xTD.size(-1)]
  const bySequence = (tensor: Tensor, columns: number): Tensor =>
    tensor.view([sequences, sequenceLength, columns])
  const mixture = bySequence(dispatch, numExperts * slots)
    .transpose(1, 2)
    .to(xTD.dtype) // [B, E*P, S]
  const inputs = mixture.matmul(bySequence(xTD, width)).view([sequences, numExperts, slots, width])
  const byExpert = inputs.transpose(0, 1).flatten(0, 2) // [E*B*P, D]
  const outputs = experts.forward(byExpert, new Array(numExperts).fill(sequences * slots))
  const bySlot = outputs.view([numExperts, sequences, slots, width]).transpose(0, 1).flatten(1, 2) // [B, E*P, D]
  return bySequence(combine, numExperts * slots)
    .to(outputs.dtype)
    .matmul(bySlot)
    .view(xTD.shape)
}
