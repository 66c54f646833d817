// Dropless dispatch: slots sorted by expert, so that each expert's rows are contiguous. Memory grows with T*K*D.
// Shapes: T tokens, D model, E experts, K slots per token, N filled slots.

import { embedding, noGrad, type Tensor, tidy, zeros } from '../../torch/index.ts'
import type { TokenRouting } from '../routing.ts'
import { countPerExpert } from './count.ts'
import type { Dispatched } from './dispatcher.ts'

/** Every filled slot reaches its expert; none is dropped (MegaBlocks, arXiv:2211.15841). */
export function sortedDispatch(xTD: Tensor, routing: TokenRouting): Dispatched {
  const [tokens, slots] = routing.indices.shape as [number, number]
  const counts = countPerExpert(routing)
  const filled = counts.reduce((sum, count) => sum + count, 0)
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
