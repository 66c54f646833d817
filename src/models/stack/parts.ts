// The parts of a model as data: what an architecture says of itself, and what it makes them with.

import type { Experts } from '../../moe/index.ts'
import { type Dispatch, dropless, type ExpertsOptions, makeExperts } from '../../moe/index.ts'
import {
  Attention,
  type AttentionOptions,
  LatentAttention,
  type LatentAttentionOptions,
  type LayerNorm,
  type MemoryAttention,
  type Module,
  RMSNorm,
  type Role,
  type SelfAttention,
} from '../../nn/index.ts'
import type { Tensor } from '../../torch/index.ts'
import type { DecoderConfig } from './config.ts'
import type { FeedForward } from './layers.ts'
import type { Tokens } from './tokens.ts'

/** What an architecture makes its parts with: another set makes the same model with parts of other kinds. */
export interface Build {
  attention(options: AttentionOptions): SelfAttention
  latentAttention(options: LatentAttentionOptions): SelfAttention
  experts(options: ExpertsOptions): Module & Experts
  /** How tokens reach their experts, where the architecture itself has no rule. */
  dispatch: Dispatch
}

/** Everything as the architecture's own files have it. */
export function standardBuild(dispatch: Dispatch = dropless): Build {
  return {
    attention: options => new Attention(options),
    latentAttention: options => new LatentAttention(options),
    experts: makeExperts,
    dispatch,
  }
}

export type Norm = RMSNorm | LayerNorm

/** The parts in which decoders and encoders differ; what is left out is Mistral's. */
export interface DecoderParts {
  feedForward(layer: number): FeedForward
  /** Default: grouped-query attention as the config has it, without biases. */
  attention?(layer: number): SelfAttention
  /** Default: an RMS norm. */
  norm?(): Norm
  /** Positions that a layer looks back on; null: all. Default: the config's sliding_window. */
  window?(layer: number): number | null
  /** Factors of the embeddings, of both branches of a layer, and of the logits. Default: 1 each. */
  scales?: { embedding: number; residual: number; logits: number }
  /** Whether the head has a bias. Default: no. */
  headBias?: boolean
  /** Whether a position sees nothing of later ones. Default: yes. */
  isCausal?: boolean
  /** Roles whose matrices start as their own files say, and not normal as HF has all of them. Default: none. */
  ownStart?: readonly Role[]
}

/** What grouped-query attention takes from a config. */
export function attentionSizes(
  config: DecoderConfig,
): Required<Pick<AttentionOptions, 'hiddenSize' | 'numHeads' | 'numKeyValueHeads' | 'headDim'>> {
  return {
    hiddenSize: config.hidden_size,
    numHeads: config.num_attention_heads,
    numKeyValueHeads: config.num_key_value_heads,
    headDim: config.head_dim,
  }
}

/** The parts with what was left out. */
export function completeParts(
  config: DecoderConfig,
  build: Build,
  parts: DecoderParts,
): Required<DecoderParts> {
  return {
    attention: () => build.attention(attentionSizes(config)),
    norm: () => new RMSNorm(config.hidden_size, config.rms_norm_eps),
    window: () => config.sliding_window,
    scales: { embedding: 1, residual: 1, logits: 1 },
    headBias: false,
    isCausal: true,
    ownStart: [],
    ...parts,
  }
}

export type Side = 'encoder' | 'decoder'

/** [1, H, T, S], added to the scores of queries at `past ..` on positions `0 ..`. */
export type PositionBias = Module & { forward(queries: number, positions: number, past?: number): Tensor }

/** The parts in which encoder-decoders differ. */
export interface EncoderDecoderParts {
  layers: Record<Side, number>
  attention(): MemoryAttention
  norm(): Norm
  feedForward(side: Side, layer: number): FeedForward
  /** Bias of the scores within a side, made once for all layers. Default: none. */
  positionBias?(side: Side): PositionBias
  /** The token whose vector starts as 0 and gets no gradient where it is read. Default: none. */
  paddingIndex?: number
  /** Token vectors [N, D] as the first layer reads them. Default: as they are. */
  embed?(vectors: Tensor, tokens: Tokens): Tensor
  /** Multiplies the hidden states before a tied head. Default 1. */
  headScale?: number
  initializerRange: number
}
