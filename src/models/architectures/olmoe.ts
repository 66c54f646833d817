// OLMoE (arXiv:2409.02060): 64 small experts in every layer, and a norm of all queries and keys as one vector.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { TopKRouter } from '../../moe/index.ts'
import type { DecoderConfig } from '../stack/config.ts'
import { attentionSizes, type DecoderParts } from '../stack/parts.ts'
import type { Architecture } from './architecture.ts'
import { check, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { mergedExperts, splitExperts } from './gguf/pieces.ts'
import type { GgufRow } from './gguf/row.ts'
import { moeBlock } from './moe-block.ts'
import { expertCount, refuseTooManyChosen } from './moe-config.ts'
import { projectionNames, publishedPieces } from './published-names.ts'

export interface OlmoeConfig extends DecoderConfig {
  model_type: 'olmoe'
  num_experts: number
  num_experts_per_tok: number
  norm_topk_prob: boolean
  /** Bound of queries, keys and values; null: none. */
  clip_qkv: number | null
  router_aux_loss_coef: number
}

const defaults: DecoderDefaults = {
  num_key_value_heads: null,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  sliding_window: null,
  fixed: { sliding_window: [null] },
}

const moeFields = z.object({
  num_experts: expertCount.default(64),
  num_experts_per_tok: z.int().positive().default(8),
  norm_topk_prob: z.boolean().default(false),
  clip_qkv: z.number().positive().nullable().default(null),
  router_aux_loss_coef: z.number().nonnegative().default(0.01),
})

const gguf: GgufRow<OlmoeConfig> = {
  name: 'olmoe',
  modelType: () => 'olmoe',
  configFields: meta => ({
    num_experts: meta.number('expert_count'),
    num_experts_per_tok: meta.number('expert_used_count'),
    norm_topk_prob: false,
  }),
  writeFields(to, config) {
    const fields = { clip_qkv: null, norm_topk_prob: false, attention_bias: false } as const
    for (const [name, only] of Object.entries(fields)) {
      const value = config[name as keyof typeof fields]
      if (value === only) continue
      throw new ConfigError(`${name} is ${String(value)}, and GGUF's olmoe has only ${String(only)}`, {
        path: 'olmoe',
      })
    }
    to.u32('expert_count', config.num_experts)
    to.u32('expert_used_count', config.num_experts_per_tok)
  },
  layouts: (_, declarations) => [splitExperts(declarations), mergedExperts(declarations)],
}

export const olmoe: Architecture<OlmoeConfig, DecoderParts> = {
  parseConfig,
  toJson: (config, dtype) => ({ architectures: ['OlmoeForCausalLM'], ...decoderJson(config, dtype) }),
  parts(config, build) {
    const { hidden_size: hiddenSize, num_experts: numExperts, hidden_act: activation } = config
    const [topK, normalize] = [config.num_experts_per_tok, config.norm_topk_prob]
    const intermediateSize = config.intermediate_size
    return {
      attention: () =>
        build.attention({
          ...attentionSizes(config),
          bias: config.attention_bias ? 'all' : 'none',
          queryKeyNorm: { of: 'all heads', eps: config.rms_norm_eps },
          clip: config.clip_qkv,
        }),
      feedForward: () =>
        moeBlock(build, new TopKRouter({ hiddenSize, numExperts, topK, normalize }), {
          ...{ kind: 'gated', hiddenSize, numExperts, intermediateSize, activation },
        }),
    }
  },
  pieces: declarations => publishedPieces(declarations, { experts: projectionNames }),
  gguf,
}

function parseConfig(json: unknown, source: string): OlmoeConfig {
  const fields = check(moeFields, json, source)
  refuseTooManyChosen(fields.num_experts_per_tok, fields.num_experts, 'num_experts', source)
  return { model_type: 'olmoe', ...parseDecoderConfig(json, source, defaults), ...fields }
}
