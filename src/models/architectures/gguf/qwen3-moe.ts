// Qwen3-MoE in GGUF. llama.cpp wants experts in every layer.

import { ConfigError } from '../../errors.ts'
import { isSparseLayer } from '../moe-config.ts'
import { type Qwen3MoeConfig, qwen3Moe } from '../qwen3-moe.ts'
import type { GgufArchitecture } from './architecture.ts'
import { mergedExperts, splitExperts } from './pieces.ts'

export const qwen3MoeGguf: GgufArchitecture<Qwen3MoeConfig> = {
  name: 'qwen3moe',
  modelType: () => 'qwen3_moe',
  configFields: meta => ({
    num_experts: meta.number('expert_count'),
    num_experts_per_tok: meta.number('expert_used_count'),
    moe_intermediate_size: meta.number('expert_feed_forward_length'),
    norm_topk_prob: true, // llama.cpp always rescales here
  }),
  writeFields(to, config) {
    const layers = Array.from({ length: config.num_hidden_layers }, (_, layer) => layer)
    const dense = layers.find(layer => !isSparseLayer(config, layer))
    if (dense !== undefined) refuse(`layer ${dense} is dense, and GGUF's qwen3moe has experts in every layer`)
    if (!config.norm_topk_prob) refuse("norm_topk_prob is false, and GGUF's qwen3moe always rescales weights")
    if (config.attention_bias) refuse("attention_bias is true, and GGUF's qwen3moe has no biases")
    to.u32('expert_count', config.num_experts)
    to.u32('expert_used_count', config.num_experts_per_tok)
    to.u32('expert_feed_forward_length', config.moe_intermediate_size)
    to.u32('attention.key_length', config.head_dim)
    to.u32('attention.value_length', config.head_dim)
  },
  layouts(config) {
    const shapes = qwen3Moe.parameterShapes(config)
    return [splitExperts(shapes), mergedExperts(shapes)]
  },
}

function refuse(problem: string): never {
  throw new ConfigError(problem, { path: 'qwen3_moe' })
}
