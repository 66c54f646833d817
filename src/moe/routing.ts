// What a router decides, as plain data.
// Shapes: T tokens, E experts, K chosen per token.

import type { Tensor } from '../torch/index.ts'

/** Each token chose experts. */
export interface TokenRouting {
  kind: 'token'
  /** i64 [T, K]: the experts of each token, best first; -1 where a slot holds none. */
  indices: Tensor
  /** [T, K]: what each expert's output counts; 0 where a slot holds none. Carries the router's task gradient. */
  weights: Tensor
  /** [T, E]: the router's raw scores, f32 or wider. */
  logits: Tensor
  /** [T, E]: softmax of the logits. */
  probs: Tensor
  /** bool [T]: false for padding, which is neither routed nor counted. Null: every token is real. */
  mask: Tensor | null
}

/** Chooses experts for tokens. */
export interface Router {
  readonly numExperts: number
  /**
   * @param x [T, D]
   * @param mask bool [T], false for padding
   */
  forward(x: Tensor, mask?: Tensor | null): TokenRouting
}
