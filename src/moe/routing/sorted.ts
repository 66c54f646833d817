// Slots sorted by expert, so that each expert's rows are contiguous. Memory grows with T*K*D.
// Shapes: T tokens, D model, E experts, K slots per token, N filled slots.

import { embedding, noGrad, type Tensor, tidy, zeros } from '../../torch/index.ts'
import { sum } from '../routing/counts.ts'
import { type TokenRouting, tokenKind } from '../routing/token.ts'

/** Tokens on their way through the experts. */
export interface Dispatched {
  /** `[N, D]`: a row for each filled slot, grouped by expert. */
  x: Tensor
  /** Rows of each expert. */
  counts: number[]
  /** The weighted sum over each token's experts: [N, D] in the order of `x` -> [T, D]. */
  combine(y: Tensor): Tensor
}

/** A row for every filled slot; experts without a short cut of their own are reached by it. */
export function sortedDispatch(xTD: Tensor, routing: TokenRouting): Dispatched {
  const [tokens, slots] = routing.indices.shape as [number, number]
  const counts = tokenKind.load(routing)
  const filled = sum(counts)
  const { slotN, tokenN } = noGrad(() =>
    tidy(() => {
      const expertOfSlot = routing.indices.reshape([-1]) // [T*K]
      const empty = tokens * slots - filled
      // Empty slots hold -1 and sort to the front. The sort is stable: rows of one expert keep their order.
      const slotN = expertOfSlot.argsort(0).narrow(0, empty, filled)
      return { slotN, tokenN: slotN.floorDivide(slots) }
    }),
  )
  return {
    // A row lookup; `embedding` adds rows up in parallel going backward, `indexSelect` one by one.
    x: embedding(xTD, tokenN),
    counts,
    combine: yND => {
      const weightsN1 = routing.weights.reshape([-1]).indexSelect(0, slotN).unsqueeze(-1).to(yND.dtype)
      return zeros([tokens, yND.size(-1)], { dtype: yND.dtype, device: yND.device }).indexAdd(
        0,
        tokenN,
        yND.mul(weightsN1),
      )
    },
  }
}
