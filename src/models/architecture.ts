// What a model file offers to the rest: everything known of a model from its config alone, and its making.

import type { DecoderConfig } from './config.ts'
import type { CausalLM } from './decoder.ts'

/** Shapes of a model's tensors by their in-memory path, in order. */
export type ParameterShapes = Map<string, number[]>

/**
 * A tensor of a published file, and which part of an in-memory tensor it is: the slice `index` of the first
 * dimension, and of that the rows `rows[0] .. rows[0] + rows[1]`.
 */
export interface CheckpointPiece {
  /** Name in the file. */
  name: string
  shape: number[]
  /** Path in memory. */
  parameter: string
  index?: number
  rows?: [start: number, length: number]
}

/** A model type, as `model_type` in config.json names it. */
export interface Architecture<C extends DecoderConfig = DecoderConfig> {
  parseConfig(json: unknown, source: string): C
  /** Its feed-forwards in a few words, as `8 experts top-2`. */
  feedForward(config: C): string
  /** Contents of the config.json of a model whose weights are stored in `dtype`, as HF names it. */
  toJson(config: C, dtype: string): Record<string, unknown>
  parameterShapes(config: C): ParameterShapes
  /** How published files store each tensor. */
  checkpointPieces(config: C): CheckpointPiece[]
  /** Elements of a layer that one token does not use: those of the experts beyond the K chosen. */
  inactiveParameters(config: C, layer: number): number
  create(config: C): CausalLM
}

/** Shapes of a decoder, given those of each layer's feed-forward by name. */
export function decoderShapes(
  config: DecoderConfig,
  feedForward: (layer: number) => Record<string, number[]>,
): ParameterShapes {
  const {
    hidden_size: hidden,
    vocab_size: vocab,
    num_attention_heads,
    num_key_value_heads,
    head_dim,
  } = config
  const [queries, keys] = [num_attention_heads * head_dim, num_key_value_heads * head_dim]
  const attention: Record<string, number[]> = {
    'input_layernorm.weight': [hidden],
    'self_attn.q_proj.weight': [queries, hidden],
    'self_attn.k_proj.weight': [keys, hidden],
    'self_attn.v_proj.weight': [keys, hidden],
    'self_attn.o_proj.weight': [hidden, queries],
    'post_attention_layernorm.weight': [hidden],
  }
  const shapes: ParameterShapes = new Map([['model.embed_tokens.weight', [vocab, hidden]]])
  for (let i = 0; i < config.num_hidden_layers; i++) {
    for (const [name, shape] of Object.entries({ ...attention, ...feedForward(i) }))
      shapes.set(`model.layers.${i}.${name}`, shape)
  }
  shapes.set('model.norm.weight', [hidden])
  if (!config.tie_word_embeddings) shapes.set('lm_head.weight', [vocab, hidden])
  return shapes
}

/** The pieces of tensors that files store whole and under their in-memory path. */
export function wholePieces(shapes: ParameterShapes): CheckpointPiece[] {
  return [...shapes].map(([name, shape]) => ({ name, shape, parameter: name }))
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1)
}
