// Qwen1.5-MoE and Qwen2-MoE: fine-grained experts whose weights are not rescaled, beside a shared one with a gate.

import { z } from 'zod'
import { type DispatchOptions, GatedExperts, MoeLayer, TopKRouter, withSharedExpert } from '../moe/index.ts'
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
import { attentionSizes, CausalLM, type FeedForward } from './decoder.ts'
import {
  describeExperts,
  expertCount,
  isSparseLayer,
  type LayerType,
  layerNumber,
  layerTypes,
  layerTypesOf,
  refuseTooManyChosen,
  type SparseLayers,
  sparseLayerFields,
  width,
  windowOfType,
} from './moe-config.ts'

export interface Qwen2MoeConfig extends DecoderConfig, SparseLayers {
  model_type: 'qwen2_moe'
  num_experts: number
  num_experts_per_tok: number
  moe_intermediate_size: number
  shared_expert_intermediate_size: number
  norm_topk_prob: boolean
  qkv_bias: boolean
  layer_types: LayerType[]
  use_sliding_window: boolean
  router_aux_loss_coef: number
}

const defaults: DecoderDefaults = {
  num_key_value_heads: 16,
  max_position_embeddings: 32_768,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  sliding_window: 4096,
  fixed: { attention_bias: [false] },
}

const moeFields = z.object({
  num_experts: expertCount.default(60),
  num_experts_per_tok: z.int().positive().default(4),
  moe_intermediate_size: width.default(1408),
  shared_expert_intermediate_size: width.default(5632),
  norm_topk_prob: z.boolean().default(false),
  qkv_bias: z.boolean().default(true),
  layer_types: layerTypes.nullish(),
  use_sliding_window: z.boolean().default(false),
  max_window_layers: layerNumber.default(28),
  router_aux_loss_coef: z.number().nonnegative().default(0.001),
  ...sparseLayerFields,
})

export class Qwen2MoeForCausalLM extends CausalLM {
  constructor(config: Qwen2MoeConfig, dispatch: DispatchOptions = { kind: 'dropless' }) {
    super(config, {
      attention: () =>
        new Attention({
          ...attentionSizes(config),
          bias: config.qkv_bias ? 'inputs' : 'none',
        }),
      window: layer => windowOfType(config, layer),
      feedForward: layer =>
        isSparseLayer(config, layer)
          ? moeBlock(config, dispatch)
          : new GatedMlp(config.hidden_size, config.intermediate_size, config.hidden_act),
    })
  }
}

function moeBlock(config: Qwen2MoeConfig, dispatch: DispatchOptions): FeedForward {
  const { hidden_size: hiddenSize, num_experts: numExperts, hidden_act: activation } = config
  const gate = new TopKRouter({
    hiddenSize,
    numExperts,
    topK: config.num_experts_per_tok,
    normalize: config.norm_topk_prob,
  })
  const intermediateSize = config.moe_intermediate_size
  const experts = new GatedExperts({ hiddenSize, numExperts, intermediateSize, activation })
  const shared = { intermediateSize: config.shared_expert_intermediate_size, gated: true }
  return withSharedExpert(new MoeLayer(gate, experts, dispatch), { hiddenSize, activation, ...shared })
}

export const qwen2Moe: Architecture<Qwen2MoeConfig> = {
  parseConfig,
  feedForward: config => {
    const { num_experts, num_experts_per_tok, num_hidden_layers: layers } = config
    return describeExperts(num_experts, num_experts_per_tok, sparseCount(config), layers, ' and a shared one')
  },
  toJson: (config, dtype) => ({ architectures: ['Qwen2MoeForCausalLM'], ...decoderJson(config, dtype) }),
  parameterShapes,
  checkpointPieces: config => publishedPieces(parameterShapes(config), { experts: projectionNames }),
  inactiveParameters: (config, layer) => {
    if (!isSparseLayer(config, layer)) return 0
    const expert = 3 * config.hidden_size * config.moe_intermediate_size
    return (config.num_experts - config.num_experts_per_tok) * expert
  },
  window: windowOfType,
  create: config => new Qwen2MoeForCausalLM(config),
}

const sparseCount = (config: Qwen2MoeConfig): number =>
  config.layer_types.filter((_, layer) => isSparseLayer(config, layer)).length

function parseConfig(json: unknown, source: string): Qwen2MoeConfig {
  const { max_window_layers, ...fields } = check(moeFields, json, source)
  const decoder = parseDecoderConfig(json, source, defaults)
  refuseTooManyChosen(fields.num_experts_per_tok, fields.num_experts, 'num_experts', source)
  // As transformers has it: with windows, every other layer below max_window_layers looks through one.
  const byDefault = (layer: number): LayerType =>
    fields.use_sliding_window && layer < max_window_layers && layer % 2 === 0
      ? 'sliding_attention'
      : 'full_attention'
  return {
    model_type: 'qwen2_moe',
    ...decoder,
    ...fields,
    sliding_window: fields.use_sliding_window ? decoder.sliding_window : null,
    layer_types: layerTypesOf(fields.layer_types, decoder.num_hidden_layers, byDefault, source),
  }
}

function parameterShapes(config: Qwen2MoeConfig): ParameterShapes {
  const { hidden_size: hidden, num_experts: experts } = config
  const attention = groupedAttentionShapes(config, { bias: config.qkv_bias ? 'inputs' : 'none' })
  return decoderShapes(
    config,
    layer => {
      if (!isSparseLayer(config, layer)) return gatedMlpShapes('mlp.', hidden, config.intermediate_size)
      return {
        ...routedExpertShapes(experts, hidden, config.moe_intermediate_size),
        ...gatedMlpShapes('mlp.shared_expert.', hidden, config.shared_expert_intermediate_size),
        'mlp.shared_expert_gate.weight': [1, hidden],
      }
    },
    { attention },
  )
}
