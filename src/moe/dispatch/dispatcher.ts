// Moving tokens to their experts and back.
// Shapes: T tokens, D model, E experts, K slots per token, N filled slots.

import type { Tensor } from '../../torch/index.ts'

/** Tokens on their way through the experts. */
export interface Dispatched {
  /** [N, D]: a row for each filled slot, grouped by expert. */
  x: Tensor
  /** Rows of each expert. */
  counts: number[]
  /** The weighted sum over each token's experts: [N, D] in the order of `x` -> [T, D]. */
  combine(y: Tensor): Tensor
}
