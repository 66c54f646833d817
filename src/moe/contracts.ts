// What routing, dispatch and experts ask of each other.
// Shapes: T tokens, D model, N rows grouped by expert.

import type { Tensor } from '../torch/index.ts'
import type { TokenRouting } from './routing/token.ts'
import type { Starts } from './sequences.ts'

/** E feed-forward networks. */
export interface Experts {
  readonly numExperts: number
  /** `y_t = sum_k weights_tk expert(x_t)`, dispatch and combine included: [T, D] -> [T, D]. */
  mix(x: Tensor, routing: TokenRouting): Tensor
  /**
   * Rows grouped by expert through their experts, where it is not tokens that choose: [N, D] -> [N, D].
   *
   * @param counts rows of each expert, in order
   */
  grouped(x: Tensor, counts: readonly number[]): Tensor
  /** One expert alone: [n, D] -> [n, D]. The reference that all else is tested against. */
  expert(index: number, x: Tensor): Tensor
}

export interface DispatchContext {
  training: boolean
  /** Where sequences begin among the tokens. */
  starts: Starts
  /** i64 [T], where they are known. */
  ids?: Tensor | null
}

/** Brings tokens to the experts that they chose and what these give back: x [T, D] -> y [T, D]. */
export interface Dispatch {
  /** Whether what is served of a token depends on all others of the batch. Default: on its sequence at most. */
  readonly isOverBatch?: boolean
  /** The weighted sum of the experts' outputs, and what was served of the choice. */
  mix(x: Tensor, chosen: TokenRouting, experts: Experts, context: DispatchContext): Mixed<TokenRouting>
}

export interface Mixed<R> {
  /** [T, D] */
  y: Tensor
  /** What was left of the decision; the same object when nothing can be dropped. */
  served: R
}
