// GLM-4.5-MoE (arXiv:2508.06471): DeepSeek-V3's experts, grouped-query attention, half of each head rotated.

import { z } from 'zod'
import { attentionSizes, type DecoderParts } from '../stack/parts.ts'
import type { Architecture } from './architecture.ts'
import { check, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import {
  biasedGate,
  type DeepseekMoeConfig,
  deepseekFeedForward,
  deepseekMoeFields,
  deepseekPieces,
  isDeepseekExtra,
} from './deepseek.ts'
import { refuseTooManyChosen } from './moe-config.ts'

export interface Glm4MoeConfig extends DeepseekMoeConfig {
  model_type: 'glm4_moe'
  /** Whether each head's query and key are normalised. */
  use_qk_norm: boolean
}

const defaults: DecoderDefaults = {
  num_key_value_heads: 8,
  head_dim: 128,
  max_position_embeddings: 131_072,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  sliding_window: null,
  partial_rotary_factor: 0.5,
  fixed: { sliding_window: [null], scoring_func: ['sigmoid'], topk_method: ['noaux_tc'] },
}

const moeFields = z.object({
  ...deepseekMoeFields,
  norm_topk_prob: z.boolean().default(true),
  use_qk_norm: z.boolean().default(false),
})

export const glm4Moe: Architecture<Glm4MoeConfig, DecoderParts> = {
  parseConfig,
  toJson: (config, dtype) => ({ architectures: ['Glm4MoeForCausalLM'], ...decoderJson(config, dtype) }),
  parts: (config, build) => ({
    attention: () =>
      build.attention({
        ...attentionSizes(config),
        bias: config.attention_bias ? 'inputs' : 'none',
        ...(config.use_qk_norm && { queryKeyNorm: { of: 'head', eps: config.rms_norm_eps } }),
      }),
    feedForward: layer => deepseekFeedForward(config, build, layer, () => biasedGate(config)),
  }),
  pieces: deepseekPieces,
  isIgnored: isDeepseekExtra,
}

function parseConfig(json: unknown, source: string): Glm4MoeConfig {
  const fields = check(moeFields, json, source)
  refuseTooManyChosen(fields.num_experts_per_tok, fields.n_routed_experts, 'n_routed_experts', source)
  return { model_type: 'glm4_moe', ...parseDecoderConfig(json, source, defaults), ...fields }
}
