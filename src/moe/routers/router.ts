// What a router is: whatever chooses experts for tokens.
// Shapes: T tokens, D model.

import type { Tensor } from '../../torch/index.ts'
import type { Routing } from '../routing/table.ts'
import type { TokenRouting } from '../routing/token.ts'
import type { Starts } from '../sequences.ts'

/** What a router may look at beside the tokens' vectors. */
export interface TokenContext {
  /** bool [T], false for padding. */
  mask?: Tensor | null
  /** i64 [T]: ids of the tokens, or of the words they belong to. */
  ids?: Tensor | null
  /** i64 [T]: the task, language or domain of each token. */
  tasks?: Tensor | null
  /** Sequence b is the tokens `starts[b] .. starts[b + 1] - 1`. Default: all tokens are one sequence. */
  starts?: Starts
}

/** Chooses experts for tokens. */
export interface Router<R extends Routing = TokenRouting> {
  readonly numExperts: number
  /** Experts of one token, at most. */
  readonly active: number
  /** Whether a token's routing in evaluation depends on no later token, as decoders need. */
  readonly isCausal: boolean
  /** @param x [T, D] */
  forward(x: Tensor, context?: TokenContext): R
  /**
   * Adapts state that no gradient trains, from what was routed since the last call. After each optimizer step.
   *
   * @param pace the learning rate as a share of its peak, for what is to settle as the weights do. Default 1
   */
  adapt?(pace?: number): void
  /** Forgets what was routed since then: the step was dropped. */
  discard?(): void
}
