// Qwen3-MoE (arXiv:2505.09388): fine-grained experts without a shared one, and a norm of each head's query and key.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { TopKRouter } from '../../moe/index.ts'
import { GatedMlp } from '../../nn/index.ts'
import type { DecoderConfig } from '../stack/config.ts'
import { attentionSizes, type DecoderParts } from '../stack/parts.ts'
import type { Architecture } from './architecture.ts'
import { check, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { mergedExperts, splitExperts } from './gguf/pieces.ts'
import type { GgufRow } from './gguf/row.ts'
import { moeBlock } from './moe-block.ts'
import {
  expertCount,
  isSparseLayer,
  refuseTooManyChosen,
  type SparseLayers,
  sparseLayerFields,
  width,
} from './moe-config.ts'
import { projectionNames, publishedPieces } from './published-names.ts'

export interface Qwen3MoeConfig extends DecoderConfig, SparseLayers {
  model_type: 'qwen3_moe'
  num_experts: number
  num_experts_per_tok: number
  moe_intermediate_size: number
  norm_topk_prob: boolean
  use_sliding_window: boolean
  router_aux_loss_coef: number
}

const defaults: DecoderDefaults = {
  num_key_value_heads: 4,
  max_position_embeddings: 32_768,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  sliding_window: 4096,
}

const moeFields = z.object({
  /** transformers 5 saves the number of experts as num_local_experts; published files have num_experts. */
  num_experts: expertCount.optional(),
  num_local_experts: expertCount.optional(),
  num_experts_per_tok: z.int().positive().default(8),
  moe_intermediate_size: width.default(768),
  norm_topk_prob: z.boolean().default(false),
  use_sliding_window: z.boolean().default(false),
  router_aux_loss_coef: z.number().nonnegative().default(0.001),
  ...sparseLayerFields,
})

/** llama.cpp wants experts in every layer. */
const gguf: GgufRow<Qwen3MoeConfig> = {
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
  layouts: (_, declarations) => [splitExperts(declarations), mergedExperts(declarations)],
}

function refuse(problem: string): never {
  throw new ConfigError(problem, { path: 'qwen3_moe' })
}

export const qwen3Moe: Architecture<Qwen3MoeConfig, DecoderParts> = {
  parseConfig,
  toJson: (config, dtype) => ({
    architectures: ['Qwen3MoeForCausalLM'],
    ...decoderJson(config, dtype),
    num_local_experts: config.num_experts,
  }),
  parts(config, build) {
    const { hidden_size: hiddenSize, num_experts: numExperts, hidden_act: activation } = config
    const [topK, normalize] = [config.num_experts_per_tok, config.norm_topk_prob]
    const intermediateSize = config.moe_intermediate_size
    return {
      attention: () =>
        build.attention({
          ...attentionSizes(config),
          bias: config.attention_bias ? 'all' : 'none',
          queryKeyNorm: { of: 'head', eps: config.rms_norm_eps },
        }),
      feedForward: layer =>
        isSparseLayer(config, layer)
          ? moeBlock(build, new TopKRouter({ hiddenSize, numExperts, topK, normalize }), {
              ...{ kind: 'gated', hiddenSize, numExperts, intermediateSize, activation },
            })
          : new GatedMlp(hiddenSize, config.intermediate_size, activation),
    }
  },
  pieces: declarations => publishedPieces(declarations, { experts: projectionNames }),
  gguf,
}

function parseConfig(json: unknown, source: string): Qwen3MoeConfig {
  const { num_experts, num_local_experts, ...fields } = check(moeFields, json, source)
  const experts = num_experts ?? num_local_experts ?? 128
  const decoder = parseDecoderConfig(json, source, defaults)
  refuseTooManyChosen(fields.num_experts_per_tok, experts, 'num_experts', source)
  return {
    model_type: 'qwen3_moe',
    ...decoder,
    ...fields,
    sliding_window: fields.use_sliding_window ? decoder.sliding_window : null,
    num_experts: experts,
  }
}
