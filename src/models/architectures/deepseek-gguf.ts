// DeepSeek-V2 and -V3 in GGUF: one architecture, told apart by the score function.

import { ConfigError } from '../../errors.ts'
import type { CheckpointPiece } from './architecture.ts'
import type { DeepseekMoeConfig, LatentConfig } from './deepseek.ts'
import type { MetadataReader } from './gguf/metadata.ts'
import { mergedExperts, splitExperts } from './gguf/pieces.ts'
import type { GgufRow } from './gguf/row.ts'

type DeepseekConfig = DeepseekMoeConfig & LatentConfig & { model_type: 'deepseek_v2' | 'deepseek_v3' }

/** Values of `expert_gating_func`. */
const gating = { softmax: 1, sigmoid: 2 }

/** Files of 2025 leave the score function out; the bias that selects experts is of sigmoid scores alone. */
const isV3 = (meta: MetadataReader): boolean => {
  const byDefault = meta.hasTensor(/^blk\.\d+\.exp_probs_b/) ? gating.sigmoid : gating.softmax
  return meta.numberOr('expert_gating_func', byDefault) === gating.sigmoid
}

export const deepseek2Gguf: GgufRow<DeepseekConfig> = {
  name: 'deepseek2',
  modelType: meta => (isV3(meta) ? 'deepseek_v3' : 'deepseek_v2'),
  configFields(meta) {
    const rotated = meta.number('rope.dimension_count')
    const keys = meta.numberOr('attention.key_length_mla', null) ?? meta.number('attention.key_length')
    const groups = meta.numberOr('expert_group_count', 1)
    return {
      n_routed_experts: meta.number('expert_count'),
      num_experts_per_tok: meta.number('expert_used_count'),
      moe_intermediate_size: meta.number('expert_feed_forward_length'),
      n_shared_experts: meta.numberOr('expert_shared_count', 0),
      first_k_dense_replace: meta.numberOr('leading_dense_block_count', 0),
      n_group: groups,
      topk_group: meta.numberOr('expert_group_used_count', 1),
      topk_method: isV3(meta) ? 'noaux_tc' : groups > 1 ? 'group_limited_greedy' : 'greedy',
      routed_scaling_factor: meta.numberOr('expert_weights_scale', 1),
      norm_topk_prob: meta.booleanOr('expert_weights_norm', false),
      q_lora_rank: meta.numberOr('attention.q_lora_rank', null),
      kv_lora_rank: meta.number('attention.kv_lora_rank'),
      qk_rope_head_dim: rotated,
      qk_nope_head_dim: keys - rotated,
      v_head_dim: meta.numberOr('attention.value_length_mla', null) ?? meta.number('attention.value_length'),
      ...longText(meta),
    }
  },
  writeFields(to, config) {
    if (config.attention_bias)
      throw new ConfigError("attention_bias is true, and GGUF's deepseek2 has no biases", {
        path: config.model_type,
      })
    if (!config.rope_interleave)
      throw new ConfigError("rope_interleave is false, and GGUF's deepseek2 pairs neighbours", {
        path: config.model_type,
      })
    const keys = config.qk_nope_head_dim + config.qk_rope_head_dim
    to.u32('expert_count', config.n_routed_experts)
    to.u32('expert_used_count', config.num_experts_per_tok)
    to.u32('expert_feed_forward_length', config.moe_intermediate_size)
    to.u32('expert_shared_count', config.n_shared_experts)
    to.u32('leading_dense_block_count', config.first_k_dense_replace)
    to.f32('expert_weights_scale', config.routed_scaling_factor)
    to.bool('expert_weights_norm', config.norm_topk_prob)
    to.u32('expert_gating_func', gating[config.model_type === 'deepseek_v3' ? 'sigmoid' : 'softmax'])
    if (config.n_group > 1) {
      to.u32('expert_group_count', config.n_group)
      to.u32('expert_group_used_count', config.topk_group)
    }
    if (config.q_lora_rank !== null) to.u32('attention.q_lora_rank', config.q_lora_rank)
    to.u32('attention.kv_lora_rank', config.kv_lora_rank)
    to.u32('rope.dimension_count', config.qk_rope_head_dim)
    to.u32('attention.key_length', keys)
    to.u32('attention.value_length', config.v_head_dim)
    const { rope_scaling: scaling } = config
    if (scaling.rope_type === 'yarn' && scaling.mscale_all_dim)
      to.f32('rope.scaling.yarn_log_multiplier', 0.1 * scaling.mscale_all_dim)
  },
  layouts: (config, declarations) => [
    splitExperts(declarations),
    [...mergedExperts(declarations), ...absorbedMaps(config)],
  ],
}

/** YaRN's magnitude counts for scores and not for cosines where a multiplier is there. */
function longText(meta: MetadataReader): Record<string, unknown> {
  const multiplier = meta.numberOr('rope.scaling.yarn_log_multiplier', 0)
  if (meta.textOr('rope.scaling.type', 'none') !== 'yarn') return {}
  const mscale = multiplier === 0 ? null : multiplier / 0.1
  return {
    rope_scaling: {
      rope_type: 'yarn',
      factor: meta.number('rope.scaling.factor'),
      original_max_position_embeddings: meta.number('rope.scaling.original_context_length'),
      mscale,
      mscale_all_dim: mscale,
    },
  }
}

/** Newer files have each head's maps of keys (transposed) and values apart, ready for absorbed attention. */
function absorbedMaps(config: DeepseekConfig): CheckpointPiece[] {
  const {
    num_attention_heads: heads,
    qk_nope_head_dim: plain,
    v_head_dim: values,
    kv_lora_rank: rank,
  } = config
  return Array.from({ length: config.num_hidden_layers }, (_, layer): CheckpointPiece[] => {
    const parameter = `model.layers.${layer}.self_attn.kv_b_proj.weight`
    return [
      {
        name: `blk.${layer}.attn_k_b.weight`,
        shape: [heads, rank, plain],
        parameter,
        headRows: { heads, rows: [0, plain] },
        transposed: true,
      },
      {
        name: `blk.${layer}.attn_v_b.weight`,
        shape: [heads, values, rank],
        parameter,
        headRows: { heads, rows: [plain, values] },
      },
    ]
  }).flat()
}
