// What a layer of experts decides, as plain data: a router in one of three shapes, PEER in one of its own.
// Shapes: T tokens, D model, E experts, K chosen per token, C tokens per expert, P slots per expert, S tokens of one sequence,
// h heads, k experts per head.

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
  /** [T, E]: the logits as probabilities: their softmax, or what the router has in its place, summing to one. */
  probs: Tensor
  /** bool [T]: false for padding, which is neither routed nor counted. Null: every token is real. */
  mask: Tensor | null
  /** Losses that are this router's own, by name, unweighted. */
  losses?: Readonly<Record<string, Tensor>>
}

/** Each expert chose tokens. */
export interface ExpertRouting {
  kind: 'expert'
  /** i64 [E, C]: the tokens of each expert; -1 where a slot holds none. */
  tokens: Tensor
  /** [E, C]: what the expert's output counts for the token; 0 where a slot holds none. */
  weights: Tensor
  /** [T, E] */
  logits: Tensor
  /** [T, E] */
  probs: Tensor
  /** bool [T] */
  mask: Tensor | null
}

/** In each sequence every slot of every expert is a mixture of all tokens. */
export interface SoftRouting {
  kind: 'soft'
  /** [T, E, P]: a softmax over the tokens of a sequence for each slot. */
  dispatch: Tensor
  /** [T, E, P]: a softmax over slots for each token. */
  combine: Tensor
  mask: Tensor | null
  /** S: T is a multiple of it. */
  sequenceLength: number
}

/** Which experts each head of a token retrieved. There are no scores of all experts: PEER never computes them. */
export interface PeerRouting {
  kind: 'peer'
  /** i64 [T, h, k]: the experts of each head, best first; -1 for padding. */
  indices: Tensor
  /** [T, h, k], f32 or wider: what each expert's output counts; 0 for padding. */
  weights: Tensor
  numExperts: number
}

/** What routers decide. */
export type Routing = TokenRouting | ExpertRouting | SoftRouting
/** What any layer of experts decides. */
export type AnyRouting = Routing | PeerRouting

/** What a router may look at beside the tokens' vectors. */
export interface TokenContext {
  /** bool [T], false for padding. */
  mask?: Tensor | null
  /** i64 [T]: ids of the tokens, or of the words they belong to. */
  ids?: Tensor | null
  /** i64 [T]: the task, language or domain of each token. */
  tasks?: Tensor | null
  /** Tokens of one sequence; T is a multiple of it. Default: all tokens are one sequence. */
  sequenceLength?: number
}

/** Chooses experts for tokens. */
export interface Router<R extends Routing = TokenRouting> {
  readonly numExperts: number
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

/** Empties the slots of padding tokens. */
export function withoutPadding<R extends TokenRouting>(routing: R): R {
  if (routing.mask === null) return routing
  const paddingT1 = routing.mask.logicalNot().unsqueeze(-1)
  return {
    ...routing,
    indices: routing.indices.maskedFill(paddingT1, -1),
    weights: routing.weights.maskedFill(paddingT1, 0),
  }
}
