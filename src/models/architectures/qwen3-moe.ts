// Qwen3-MoE (arXiv:2505.09388): fine-grained experts without a shared one, and a norm of each head's query and key.

import { z } from 'zod'
import { type DispatchOptions, GatedExperts, MoeLayer, TopKRouter } from '../moe/index.ts'
import { Attention, GatedMlp } from '../nn/index.ts'
import {
  type Architecture,
  decoderShapes,
  gatedMlpShapes,
  groupedAttentionShapes,
  type ParameterShapes,
  projectionNames,
  publishedPieces,
  routedExpertShapes,
} from './architecture.ts'
import { check, type DecoderConfig, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { attentionSizes, CausalLM } from './decoder.ts'
import {
  describeExperts,
  expertCount,
  isSparseLayer,
  refuseTooManyChosen,
  type SparseLayers,
  sparseLayerFields,
  width,
} from './moe-config.ts'

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

export class Qwen3MoeForCausalLM extends CausalLM {
  constructor(config: Qwen3MoeConfig, dispatch: DispatchOptions = { kind: 'dropless' }) {
    const { hidden_size: hiddenSize, num_experts: numExperts, hidden_act: activation } = config
    super(config, {
      attention: () =>
        new Attention({
          ...attentionSizes(config),
          bias: config.attention_bias ? 'all' : 'none',
          queryKeyNorm: { of: 'head', eps: config.rms_norm_eps },
        }),
      feedForward: layer => {
        if (!isSparseLayer(config, layer))
          return new GatedMlp(hiddenSize, config.intermediate_size, activation)
        const [topK, normalize] = [config.num_experts_per_tok, config.norm_topk_prob]
        const gate = new TopKRouter({ hiddenSize, numExperts, topK, normalize })
        const intermediateSize = config.moe_intermediate_size
        const experts = new GatedExperts({ hiddenSize, numExperts, intermediateSize, activation })
        return new MoeLayer(gate, experts, dispatch)
      },
    })
  }
}

export const qwen3Moe: Architecture<Qwen3MoeConfig> = {
  parseConfig,
  feedForward: config => {
    const layers = Array.from({ length: config.num_hidden_layers }, (_, layer) => layer)
    const sparse = layers.filter(layer => isSparseLayer(config, layer)).length
    return describeExperts(config.num_experts, config.num_experts_per_tok, sparse, layers.length)
  },
  toJson: (config, dtype) => ({
    architectures: ['Qwen3MoeForCausalLM'],
    ...decoderJson(config, dtype),
    num_local_experts: config.num_experts,
  }),
  parameterShapes,
  checkpointPieces: config => publishedPieces(parameterShapes(config), { experts: projectionNames }),
  inactiveParameters: (config, layer) => {
    if (!isSparseLayer(config, layer)) return 0
    const expert = 3 * config.hidden_size * config.moe_intermediate_size
    return (config.num_experts - config.num_experts_per_tok) * expert
  },
  create: config => new Qwen3MoeForCausalLM(config),
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

function parameterShapes(config: Qwen3MoeConfig): ParameterShapes {
  const { hidden_size: hidden, num_experts: experts } = config
  const attention = groupedAttentionShapes(config, {
    bias: config.attention_bias ? 'all' : 'none',
    queryKeyNorm: 'head',
  })
  return decoderShapes(
    config,
    layer =>
      isSparseLayer(config, layer)
        ? {
            ...routedExpertShapes(experts, hidden, config.moe_intermediate_size),
          }
        : gatedMlpShapes('mlp.', hidden, config.intermediate_size),
    { attention },
  )
}
