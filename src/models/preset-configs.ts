// The config.json of published models, of those presets that can be opened here: what follows from the type's defaults is
// left out.

import { ConfigError } from '../errors.ts'
import { type AnyModelConfig, parseAnyConfig } from './architectures/table.ts'
import { presetNames, presetOf } from './presets.ts'

const switchBase = {
  model_type: 'switch_transformers',
  vocab_size: 32_128,
  d_model: 768,
  d_kv: 64,
  d_ff: 3072,
  num_layers: 12,
  num_heads: 12,
  num_sparse_encoder_layers: 6,
  num_sparse_decoder_layers: 6,
}

const mixtral = {
  model_type: 'mixtral',
  num_key_value_heads: 8,
  num_local_experts: 8,
  num_experts_per_tok: 2,
}

const configs: Partial<Record<(typeof presetNames)[number], object>> = {
  'mixtral-8x7b': {
    ...mixtral,
    vocab_size: 32_000,
    hidden_size: 4096,
    intermediate_size: 14_336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    max_position_embeddings: 32_768,
  },
  'mixtral-8x22b': {
    ...mixtral,
    vocab_size: 32_768,
    hidden_size: 6144,
    intermediate_size: 16_384,
    num_hidden_layers: 56,
    num_attention_heads: 48,
    max_position_embeddings: 65_536,
  },
  'switch-base-128': { ...switchBase, num_experts: 128 },
  'switch-base-256': { ...switchBase, num_experts: 256 },
  'deepseek-v3': {
    model_type: 'deepseek_v3',
    vocab_size: 129_280,
    hidden_size: 7168,
    intermediate_size: 18_432,
    moe_intermediate_size: 2048,
    num_hidden_layers: 61,
    first_k_dense_replace: 3,
    num_attention_heads: 128,
    num_key_value_heads: 128,
    q_lora_rank: 1536,
    kv_lora_rank: 512,
    qk_nope_head_dim: 128,
    qk_rope_head_dim: 64,
    v_head_dim: 128,
    n_routed_experts: 256,
    n_shared_experts: 1,
    num_experts_per_tok: 8,
    n_group: 8,
    topk_group: 4,
    routed_scaling_factor: 2.5,
    max_position_embeddings: 163_840,
    rope_scaling: {
      type: 'yarn',
      factor: 40,
      original_max_position_embeddings: 4096,
      beta_fast: 32,
      beta_slow: 1,
      mscale: 1,
      mscale_all_dim: 1,
    },
  },
  'olmoe-1b-7b': {
    model_type: 'olmoe',
    vocab_size: 50_304,
    hidden_size: 2048,
    intermediate_size: 1024,
    num_hidden_layers: 16,
    num_attention_heads: 16,
    num_experts: 64,
    num_experts_per_tok: 8,
  },
}

/** Throws ConfigError for a name that is no preset, or a preset whose model cannot be made here. */
export function presetConfig(name: string): AnyModelConfig {
  const path = `preset:${name}`
  const { title } = presetOf(name)
  const json = Object.hasOwn(configs, name) ? configs[name as keyof typeof configs] : undefined
  if (json) return parseAnyConfig(json, path)
  const known = presetNames.filter(other => Object.hasOwn(configs, other))
  throw new ConfigError(`${title} can be counted but not made; these can: ${known.join(', ')}`, { path })
}
