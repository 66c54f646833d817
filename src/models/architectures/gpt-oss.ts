// gpt-oss (arXiv:2508.10925): biased router, clamped experts, attention sinks, every other layer through a window.

import { z } from 'zod'
import { ClampedExperts, type DispatchOptions, MoeLayer, TopKRouter } from '../moe/index.ts'
import { Attention } from '../nn/index.ts'
import {
  type Architecture,
  decoderShapes,
  groupedAttentionShapes,
  type ParameterShapes,
  publishedPieces,
} from './architecture.ts'
import { check, type DecoderConfig, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { attentionSizes, CausalLM } from './decoder.ts'
import {
  describeExperts,
  expertCount,
  type LayerType,
  layerTypes,
  layerTypesOf,
  refuseTooManyChosen,
  windowOfType,
} from './moe-config.ts'

export interface GptOssConfig extends DecoderConfig {
  model_type: 'gpt_oss'
  num_local_experts: number
  num_experts_per_tok: number
  layer_types: LayerType[]
  /** Bound inside the experts. */
  swiglu_limit: number
  router_aux_loss_coef: number
}

const defaults: DecoderDefaults = {
  num_key_value_heads: 8,
  head_dim: 64,
  max_position_embeddings: 131_072,
  rms_norm_eps: 1e-5,
  rope_theta: 150_000,
  sliding_window: 128,
  attention_bias: true,
  fixed: { hidden_act: ['silu'] },
}

/** Where the file names no rule for long texts. */
const yarn = { rope_type: 'yarn', factor: 32, original_max_position_embeddings: 4096, truncate: false }

const moeFields = z.object({
  num_local_experts: expertCount.default(128),
  num_experts_per_tok: z.int().positive().default(4),
  layer_types: layerTypes.nullish(),
  swiglu_limit: z.number().positive().default(7),
  router_aux_loss_coef: z.number().nonnegative().default(0.9),
})

export class GptOssForCausalLM extends CausalLM {
  constructor(config: GptOssConfig, dispatch: DispatchOptions = { kind: 'dropless' }) {
    const sizes = { hiddenSize: config.hidden_size, numExperts: config.num_local_experts }
    super(config, {
      attention: () =>
        new Attention({
          ...attentionSizes(config),
          bias: config.attention_bias ? 'all' : 'none',
          sinks: true,
        }),
      window: layer => windowOfType(config, layer),
      feedForward: () => {
        const topK = config.num_experts_per_tok
        const gate = new TopKRouter({ ...sizes, topK, order: 'topk-softmax', bias: true })
        const experts = new ClampedExperts({
          ...sizes,
          intermediateSize: config.intermediate_size,
          limit: config.swiglu_limit,
        })
        return new MoeLayer(gate, experts, dispatch)
      },
    })
  }
}

export const gptOss: Architecture<GptOssConfig> = {
  parseConfig,
  feedForward: ({ num_local_experts, num_experts_per_tok, num_hidden_layers: layers }) =>
    describeExperts(num_local_experts, num_experts_per_tok, layers, layers),
  toJson: (config, dtype) => ({ architectures: ['GptOssForCausalLM'], ...decoderJson(config, dtype) }),
  parameterShapes,
  checkpointPieces: config =>
    publishedPieces(parameterShapes(config), { rename: path => path.replace('.mlp.gate.', '.mlp.router.') }),
  inactiveParameters: config => {
    const { hidden_size: hidden, intermediate_size: width } = config
    const expert = 3 * hidden * width + 2 * width + hidden
    return (config.num_local_experts - config.num_experts_per_tok) * expert
  },
  window: windowOfType,
  create: config => new GptOssForCausalLM(config),
}

function parseConfig(json: unknown, source: string): GptOssConfig {
  const { layer_types, ...fields } = check(moeFields, json, source)
  const decoder = parseDecoderConfig({ rope_scaling: yarn, ...(json as object) }, source, defaults)
  refuseTooManyChosen(fields.num_experts_per_tok, fields.num_local_experts, 'num_local_experts', source)
  const byDefault = (layer: number): LayerType => (layer % 2 === 0 ? 'sliding_attention' : 'full_attention')
  const types = layerTypesOf(layer_types, decoder.num_hidden_layers, byDefault, source)
  return { model_type: 'gpt_oss', ...decoder, ...fields, layer_types: types }
}

function parameterShapes(config: GptOssConfig): ParameterShapes {
  const { hidden_size: hidden, num_local_experts: experts, intermediate_size: width } = config
  const attention = groupedAttentionShapes(config, {
    bias: config.attention_bias ? 'all' : 'none',
    sinks: true,
  })
  const feedForward = () => ({
    'mlp.gate.weight': [experts, hidden],
    'mlp.gate.bias': [experts],
    'mlp.experts.gate_up_proj': [experts, hidden, 2 * width],
    'mlp.experts.gate_up_proj_bias': [experts, 2 * width],
    'mlp.experts.down_proj': [experts, width, hidden],
    'mlp.experts.down_proj_bias': [experts, hidden],
  })
  return decoderShapes(config, feedForward, { attention })
}
