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

const moeFields = z.object({
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
  return { model_type: 'deepseek_v3', ...decoder, ...fields }
}

function parameterShapes(config: DeepseekV3Config): ParameterShapes {
  const gate = { 'mlp.gate.e_score_correction_bias': [config.n_routed_experts] }
  return decoderShapes(config, layer => deepseekFeedForwardShapes(config, layer, gate), {
    attention: latentAttentionShapes(config),
  })
}
