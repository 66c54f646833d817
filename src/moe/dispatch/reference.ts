// The slow, obvious MoE: a loop over experts. Every dispatch and all experts are tested against it.

import { z } from 'zod'
import { type Tensor, tidy, zeros } from '../../torch/index.ts'
import type { Dispatch, Experts } from '../contracts.ts'
import type { TokenRouting } from '../routing/token.ts'
import type { DispatchRow } from './dispatch.ts'

/** `y_t = sum_k w_tk expert_{i_tk}(x_t)`: each expert sees every token, weighted by zero where it was not chosen. */
export function referenceMoe(x: Tensor, routing: TokenRouting, experts: Experts): Tensor {
  return tidy(() => {
    let sum = zeros(x.shape, { dtype: x.dtype, device: x.device })
    for (let e = 0; e < experts.numExperts; e++) {
      const weight = routing.weights.mul(routing.indices.eq(e)).sum(-1, true) // [T, 1]
      sum = sum.add(experts.expert(e, x).mul(weight.to(x.dtype)))
    }
    return sum
  })
}

/** A loop over all experts and tokens: slow, for comparison. */
export const referenceDispatch: Dispatch = {
  mix: (x, chosen, experts) => ({ y: referenceMoe(x, chosen, experts), served: chosen }),
}

const schema = z.strictObject({ kind: z.literal('reference') })

/** `reference` in recipes. */
export const referenceRow: DispatchRow<typeof schema> = { schema, make: () => referenceDispatch }
