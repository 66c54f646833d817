// The model that training benchmarks share, from their sizes.

import {
  type CausalLM,
  createModel,
  denseTwin,
  type MixtralConfig,
  parseModelConfig,
} from '../../src/models/index.ts'
import { manualSeed } from '../../src/torch/index.ts'

export interface Sizes {
  vocab: number
  hidden: number
  layers: number
  heads: number
  ff: number
  experts: number
  topK: number
  batch: number
  length: number
}

export function configOf(sizes: Sizes): MixtralConfig {
  const fields = {
    vocab_size: sizes.vocab,
    hidden_size: sizes.hidden,
    intermediate_size: sizes.ff,
    num_hidden_layers: sizes.layers,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.heads,
    max_position_embeddings: sizes.length,
    num_local_experts: sizes.experts,
    num_experts_per_tok: sizes.topK,
  }
  return parseModelConfig({ model_type: 'mixtral', ...fields }, 'benchmark') as MixtralConfig
}

/** Always the same weights. */
export function makeModel(sizes: Sizes, kind: 'moe' | 'dense' = 'moe'): CausalLM {
  manualSeed(1)
  const config = configOf(sizes)
  return kind === 'moe' ? createModel(config) : createModel(denseTwin(config))
}
