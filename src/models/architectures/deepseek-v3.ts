// DeepSeek-V3 (arXiv:2412.19437): V2's attention, sigmoid scores, and a bias that balances without a loss.

import { z } from 'zod'
import type { DecoderParts } from '../stack/parts.ts'
import type { Architecture } from './architecture.ts'
import { check, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import {
  biasedGate,
  type DeepseekMoeConfig,
  deepseekFeedForward,
  deepseekMoeFields,
  deepseekPieces,
  isDeepseekExtra,
  type LatentConfig,
  latentAttention,
  latentFields,
  withLatentHeads,
} from './deepseek.ts'
import { deepseek2Gguf } from './deepseek-gguf.ts'
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

export const deepseekV3: Architecture<DeepseekV3Config, DecoderParts> = {
  parseConfig,
  toJson: (config, dtype) => ({ architectures: ['DeepseekV3ForCausalLM'], ...decoderJson(config, dtype) }),
  parts: (config, build) => ({
    attention: () => latentAttention(config, build),
    feedForward: layer => deepseekFeedForward(config, build, layer, () => biasedGate(config)),
  }),
  pieces: deepseekPieces,
  isIgnored: isDeepseekExtra,
  gguf: deepseek2Gguf,
}

function parseConfig(json: unknown, source: string): DeepseekV3Config {
  const fields = check(moeFields, json, source)
  const decoder = parseDecoderConfig(withLatentHeads(json, fields.qk_rope_head_dim), source, defaults)
  refuseTooManyChosen(fields.num_experts_per_tok, fields.n_routed_experts, 'n_routed_experts', source)
  return { model_type: 'deepseek_v3', ...decoder, ...fields }
}
