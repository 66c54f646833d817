// What every model of a kind has in its config.json, whatever its type. Names are HF's.

import type { Activation, RopeScaling } from '../../nn/index.ts'

/** A model of one stack of layers: a decoder, or an encoder. */
export interface DecoderConfig {
  vocab_size: number
  hidden_size: number
  intermediate_size: number
  num_hidden_layers: number
  num_attention_heads: number
  num_key_value_heads: number
  head_dim: number
  max_position_embeddings: number
  rms_norm_eps: number
  /** The non-linearity of feed-forwards. */
  hidden_act: Activation
  /** Whether the projections of attention have biases; which of them differs by model type. */
  attention_bias: boolean
  rope_theta: number
  rope_scaling: RopeScaling
  /** Share of a head's dimensions that are rotated. */
  partial_rotary_factor: number
  /** Positions a query looks back on, itself included; null: all. */
  sliding_window: number | null
  tie_word_embeddings: boolean
  initializer_range: number
  pad_token_id: number | null
  bos_token_id: number | null
  /** Several where any of them ends a text. */
  eos_token_id: number | number[] | null
}

export interface EncoderConfig extends DecoderConfig {
  /** What stands for a token that is to be predicted. */
  mask_token_id: number
}

/** What every encoder-decoder here has, whatever its config calls the rest. */
export interface EncoderDecoderConfig {
  vocab_size: number
  d_model: number
  pad_token_id: number
  /** Several where any of them ends a text. */
  eos_token_id: number | number[] | null
  bos_token_id: number | null
  /** What the decoder begins with. */
  decoder_start_token_id: number
  tie_word_embeddings: boolean
}

/** Dimensions of a head that are rotated. */
export function rotaryDimOf(config: Pick<DecoderConfig, 'head_dim' | 'partial_rotary_factor'>): number {
  return Math.trunc(config.head_dim * config.partial_rotary_factor)
}
