// The first sparsely gated mixture: a recurrent language model with experts between two LSTM layers (Shazeer et al.,
// arXiv:1701.06538, appendix C.1).
// Shapes: B batch, S sequence, V vocabulary, D of every layer, F expert width.

import { Dropout, Embedding, Linear, Lstm, type LstmState, Module } from '../nn/index.ts'
import { type Tensor, tidy } from '../torch/index.ts'
import { checkRate } from './checks.ts'
import { PlainExperts } from './experts/plain.ts'
import { MoeLayer } from './layer.ts'
import { HierarchicalRouter } from './routers/hierarchical.ts'
import { NoisyTopKRouter } from './routers/noisy-top-k.ts'
import type { TokenRouting } from './routing/token.ts'

export interface LstmMixtureOptions {
  vocabSize: number
  /** D. The paper: 512. */
  hiddenSize: number
  /** F. The paper: 1024. */
  intermediateSize: number
  numExperts: number
  /** Experts of a token; with groups, as many groups, and in each as many experts. Default 4, with groups 2, as in the paper. */
  topK?: number
  /** Groups of experts, `topK` of which a first gate chooses. Default: none, one gate for all experts. */
  groups?: number
  /** Of every layer's output but the last one's. Default 0. */
  dropout?: number
}

/** What a text goes on from: a state of each recurrent layer. */
export type LstmMixtureState = readonly [LstmState, LstmState]

/**
 * Embedding, LSTM, experts, LSTM, softmax; after each layer `h <- h + dropout(layer(h))`, where the experts' output passes through a
 * sigmoid first. Experts are `W relu(V h)`. What the gates lose, `importance` and `load`, is in the routing, for a coefficient of 0.1.
 */
export class LstmMixture extends Module {
  readonly embedding: Embedding
  readonly first: Lstm
  readonly moe: MoeLayer<NoisyTopKRouter | HierarchicalRouter, PlainExperts>
  readonly second: Lstm
  readonly head: Linear
  readonly dropout: Dropout

  /** @throws ConfigError for experts that groups do not divide, and choices of more than there are */
  constructor({ vocabSize, hiddenSize, dropout = 0, ...options }: LstmMixtureOptions) {
    super()
    this.embedding = new Embedding(vocabSize, hiddenSize)
    this.first = new Lstm(hiddenSize, hiddenSize)
    this.moe = new MoeLayer(gateOf(hiddenSize, options), new PlainExperts({ hiddenSize, ...options }))
    this.second = new Lstm(hiddenSize, hiddenSize)
    this.head = new Linear(hiddenSize, vocabSize)
    this.dropout = new Dropout(checkRate(dropout, 'dropout'))
  }

  /**
   * @param ids i64 [B, S]
   * @param state of the text so far; default: its start
   * @returns logits [B, S, V]
   */
  forward(
    ids: Tensor,
    state: LstmMixtureState | null = null,
  ): { logits: Tensor; routing: TokenRouting; state: LstmMixtureState } {
    return tidy(() => {
      const embedded = this.dropout.forward(this.embedding.forward(ids)) // [B, S, D]
      const first = this.first.forward(embedded, state?.[0])
      const remembered = embedded.add(this.dropout.forward(first.y))
      const { y, routing } = this.moe.forward(remembered)
      const mixed = remembered.add(this.dropout.forward(y.sigmoid()))
      const second = this.second.forward(mixed, state?.[1])
      const logits = this.head.forward(mixed.add(this.dropout.forward(second.y)))
      return { logits, routing, state: [first.state, second.state] as const }
    })
  }
}

function gateOf(
  hiddenSize: number,
  {
    numExperts,
    groups,
    topK = groups === undefined ? 4 : 2,
  }: Pick<LstmMixtureOptions, 'numExperts' | 'groups' | 'topK'>,
): NoisyTopKRouter | HierarchicalRouter {
  const sizes = { hiddenSize, numExperts, topK }
  if (groups === undefined) return new NoisyTopKRouter(sizes)
  return new HierarchicalRouter({ ...sizes, groups, topGroups: topK })
}
