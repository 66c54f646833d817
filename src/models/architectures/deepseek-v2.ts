// DeepSeek-V2 (arXiv:2405.04434): latent attention, shared and fine-grained experts, softmax scores.

import { z } from 'zod'
import { GroupLimitedRouter } from '../../moe/index.ts'
import type { DecoderParts } from '../stack/parts.ts'
import type { Architecture } from './architecture.ts'
import { check, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import {
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

export interface DeepseekV2Config extends DeepseekMoeConfig, LatentConfig {
  model_type: 'deepseek_v2'
  topk_method: 'greedy' | 'group_limited_greedy'
}

const defaults: DecoderDefaults = {
  num_key_value_heads: null,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  sliding_window: null,
  // transformers leaves norm_topk_prob aside, and the published code rescales by it or by the factor, never both.
  fixed: {
    sliding_window: [null],
    norm_topk_prob: [false],
    scoring_func: ['softmax'],
    moe_layer_freq: [1],
    rope_interleave: [true],
  },
}

const moeFields = z.object({
  ...deepseekMoeFields,
  ...latentFields,
  topk_method: z.enum(['greedy', 'group_limited_greedy']).default('greedy'),
})

export const deepseekV2: Architecture<DeepseekV2Config, DecoderParts> = {
  parseConfig,
  toJson: (config, dtype) => ({ architectures: ['DeepseekV2ForCausalLM'], ...decoderJson(config, dtype) }),
  parts(config, build) {
    const isGrouped = config.topk_method === 'group_limited_greedy'
    const gate = (): GroupLimitedRouter =>
      new GroupLimitedRouter({
        hiddenSize: config.hidden_size,
        numExperts: config.n_routed_experts,
        topK: config.num_experts_per_tok,
        scale: config.routed_scaling_factor,
        ...(isGrouped && { groups: config.n_group, topGroups: config.topk_group }),
      })
    return {
      attention: () => latentAttention(config, build),
      feedForward: layer => deepseekFeedForward(config, build, layer, gate),
    }
  },
  pieces: deepseekPieces,
  isIgnored: isDeepseekExtra,
  gguf: deepseek2Gguf,
}

function parseConfig(json: unknown, source: string): DeepseekV2Config {
  const fields = check(moeFields, json, source)
  const decoder = parseDecoderConfig(withLatentHeads(json, fields.qk_rope_head_dim), source, defaults)
  refuseTooManyChosen(fields.num_experts_per_tok, fields.n_routed_experts, 'n_routed_experts', source)
  return { model_type: 'deepseek_v2', ...decoder, ...fields, norm_topk_prob: false, rope_interleave: true }
}
