// Qwen1.5-MoE and Qwen2-MoE: fine-grained experts whose weights are not rescaled, beside a shared one with a gate.

import { z } from 'zod'
import { TopKRouter } from '../../moe/index.ts'
import { GatedMlp } from '../../nn/index.ts'
import type { DecoderConfig } from '../stack/config.ts'
import { attentionSizes, type DecoderParts } from '../stack/parts.ts'
import type { Architecture } from './architecture.ts'
import { check, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { moeBlock } from './moe-block.ts'
import {
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
import { projectionNames, publishedPieces } from './published-names.ts'

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

export const qwen2Moe: Architecture<Qwen2MoeConfig, DecoderParts> = {
  parseConfig,
  toJson: (config, dtype) => ({ architectures: ['Qwen2MoeForCausalLM'], ...decoderJson(config, dtype) }),
  parts(config, build) {
    const { hidden_size: hiddenSize, num_experts: numExperts, hidden_act: activation } = config
    const [topK, normalize] = [config.num_experts_per_tok, config.norm_topk_prob]
    const intermediateSize = config.moe_intermediate_size
    const shared = { intermediateSize: config.shared_expert_intermediate_size, gated: true }
    return {
      attention: () =>
        build.attention({ ...attentionSizes(config), bias: config.qkv_bias ? 'inputs' : 'none' }),
      window: layer => windowOfType(config, layer),
      feedForward: layer =>
        isSparseLayer(config, layer)
          ? moeBlock(
              build,
              new TopKRouter({ hiddenSize, numExperts, topK, normalize }),
              { kind: 'gated', hiddenSize, numExperts, intermediateSize, activation },
              { hiddenSize, activation, ...shared },
            )
          : new GatedMlp(hiddenSize, config.intermediate_size, activation),
    }
  },
  pieces: declarations => publishedPieces(declarations, { experts: projectionNames }),
}

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
