// Phi-3.5-MoE (arXiv:2404.14219, arXiv:2409.12136): SparseMixer's top-2, layer norms with biases, long-text rotation.

import { z } from 'zod'
import { type DispatchOptions, GatedExperts, MoeLayer, SparseMixerRouter } from '../moe/index.ts'
import { Attention, LayerNorm } from '../nn/index.ts'
import {
  type Architecture,
  decoderShapes,
  groupedAttentionShapes,
  type ParameterShapes,
  publishedPieces,
  routedExpertShapes,
} from './architecture.ts'
import { check, type DecoderConfig, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { attentionSizes, CausalLM } from './decoder.ts'
import { mixtralNames } from './mixtral.ts'
import { describeExperts, expertCount } from './moe-config.ts'

export interface PhimoeConfig extends DecoderConfig {
  model_type: 'phimoe'
  num_local_experts: number
  /** The rule is for two. */
  num_experts_per_tok: 2
  router_jitter_noise: number
  /** Noise on the layer's input while training; nothing in evaluation. */
  input_jitter_noise: number
  lm_head_bias: boolean
  router_aux_loss_coef: number
}

const defaults: DecoderDefaults = {
  num_key_value_heads: 8,
  max_position_embeddings: 131_072,
  rms_norm_eps: 1e-5,
  rope_theta: 1_000_000,
  sliding_window: null,
}

const moeFields = z.object({
  num_local_experts: expertCount.min(2).default(16),
  num_experts_per_tok: z.literal(2).default(2),
  router_jitter_noise: z.number().nonnegative().default(0.01),
  input_jitter_noise: z.number().nonnegative().default(0),
  lm_head_bias: z.boolean().default(false),
  router_aux_loss_coef: z.number().nonnegative().default(0.001),
})

export class PhimoeForCausalLM extends CausalLM {
  constructor(config: PhimoeConfig, dispatch: DispatchOptions = { kind: 'dropless' }) {
    const { hidden_size: hiddenSize, num_local_experts: numExperts, hidden_act: activation } = config
    super(config, {
      attention: () =>
        new Attention({
          ...attentionSizes(config),
          bias: config.attention_bias ? 'all' : 'none',
        }),
      norm: () => new LayerNorm(hiddenSize, config.rms_norm_eps),
      feedForward: () => {
        const gate = new SparseMixerRouter({ hiddenSize, numExperts, closeness: config.router_jitter_noise })
        const intermediateSize = config.intermediate_size
        const experts = new GatedExperts({ hiddenSize, numExperts, intermediateSize, activation })
        return new MoeLayer(gate, experts, dispatch)
      },
      headBias: config.lm_head_bias,
    })
  }
}

export const phimoe: Architecture<PhimoeConfig> = {
  parseConfig,
  feedForward: ({ num_local_experts, num_hidden_layers: layers }) =>
    describeExperts(num_local_experts, 2, layers, layers),
  toJson: (config, dtype) => ({ architectures: ['PhimoeForCausalLM'], ...decoderJson(config, dtype) }),
  parameterShapes,
  checkpointPieces: config => publishedPieces(parameterShapes(config), mixtralNames),
  inactiveParameters: config =>
    (config.num_local_experts - 2) * 3 * config.hidden_size * config.intermediate_size,
  create: config => new PhimoeForCausalLM(config),
}

function parseConfig(json: unknown, source: string): PhimoeConfig {
  const fields = check(moeFields, json, source)
  return { model_type: 'phimoe', ...parseDecoderConfig(json, source, defaults), ...fields }
}

function parameterShapes(config: PhimoeConfig): ParameterShapes {
  const { hidden_size: hidden, num_local_experts: experts, intermediate_size } = config
  const attention = groupedAttentionShapes(config, { bias: config.attention_bias ? 'all' : 'none' })
  const feedForward = () => ({
    ...routedExpertShapes(experts, hidden, intermediate_size),
  })
  return decoderShapes(config, feedForward, { attention, normBias: true, headBias: config.lm_head_bias })
}
