// DeepSeek-V3 (arXiv:2412.19437): V2's attention, sigmoid scores, and a bias that balances without a loss.

import { z } from 'zod'
import type { DispatchOptions } from '../moe/index.ts'
import { type Architecture, decoderShapes, type ParameterShapes } from './architecture.ts'
import { check, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { CausalLM } from './decoder.ts'
import {
  biasedGate,
  type DeepseekMoeConfig,
  deepseekFeedForward,
  deepseekFeedForwardShapes,
  deepseekInactive,
  deepseekMoeFields,
  deepseekPieces,
  describeDeepseek,
  isDeepseekExtra,
  type LatentConfig,
  latentAttention,
  latentAttentionCost,
  latentAttentionShapes,
  latentFields,
  withLatentHeads,
} from './deepseek.ts'
import { refuseTooManyChosen } from './moe-config.ts'

export interface DeepseekV3Config extends DeepseekMoeConfig, LatentConfig {
  model_type: 'deepseek_v3'
}

const defaults: DecoderDefaults = {
  num_key_value_heads: null,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  sliding_window: null,
  fixed: {
    sliding_window: [null],
    scoring_func: ['sigmoid'],
    topk_method: ['noaux_tc'],
    moe_layer_freq: [1],
  },
}

const moeFields = z.looseObject({
  ...deepseekMoeFields,
  ...latentFields,
  norm_topk_prob: z.boolean().default(true),
  rope_interleave: z.boolean().default(true),
})

export class DeepseekV3ForCausalLM extends CausalLM {
  constructor(config: DeepseekV3Config, dispatch: DispatchOptions = { kind: 'dropless' }) {
    super(config, {
      attention: () => latentAttention(config),
      feedForward: layer => deepseekFeedForward(config, layer, () => biasedGate(config), dispatch),
    })
  }
}

export const deepseekV3: Architecture<DeepseekV3Config> = {
  parseConfig,
  feedForward: describeDeepseek,
  toJson: (config, dtype) => ({ architectures: ['DeepseekV3ForCausalLM'], ...decoderJson(config, dtype) }),
  parameterShapes,
  checkpointPieces: config => deepseekPieces(parameterShapes(config)),
  isIgnored: isDeepseekExtra,
  inactiveParameters: deepseekInactive,
  attentionCost: latentAttentionCost,
  create: config => new DeepseekV3ForCausalLM(config),
}

function parseConfig(json: unknown, source: string): DeepseekV3Config {
  const fields = check(moeFields, json, source)
  const decoder = parseDecoderConfig(withLatentHeads(json, fields.qk_rope_head_dim), source, defaults)
  refuseTooManyChosen(fields.num_experts_per_tok, fields.n_routed_experts, 'n_routed_experts', source)
  return {
    model_type: 'deepseek_v3',
    ...decoder,
    n_routed_experts: fields.n_routed_experts,
    num_experts_per_tok: fields.num_experts_per_tok,
    moe_intermediate_size: fields.moe_intermediate_size,
    n_shared_experts: fields.n_shared_experts ?? 0,
    first_k_dense_replace: fields.first_k_dense_replace,
    n_group: fields.n_group ?? 1,
    topk_group: fields.topk_group ?? 1,
    routed_scaling_factor: fields.routed_scaling_factor,
    norm_topk_prob: fields.norm_topk_prob,
    num_nextn_predict_layers: fields.num_nextn_predict_layers ?? 0,
    q_lora_rank: fields.q_lora_rank ?? null,
    kv_lora_rank: fields.kv_lora_rank,
    qk_nope_head_dim: fields.qk_nope_head_dim,
    qk_rope_head_dim: fields.qk_rope_head_dim,
    v_head_dim: fields.v_head_dim,
    rope_interleave: fields.rope_interleave,
  }
}

function parameterShapes(config: DeepseekV3Config): ParameterShapes {
  const gate = { 'mlp.gate.e_score_correction_bias': [config.n_routed_experts] }
  return decoderShapes(config, layer => deepseekFeedForwardShapes(config, layer, gate), {
    attention: latentAttentionShapes(config),
  })
}
