// OLMoE (arXiv:2409.02060): 64 small experts in every layer, and a norm of all queries and keys as one vector.

import { z } from 'zod'
import { type DispatchOptions, GatedExperts, MoeLayer, TopKRouter } from '../moe/index.ts'
import { Attention } from '../nn/index.ts'
import {
  type Architecture,
  decoderShapes,
  groupedAttentionShapes,
  type ParameterShapes,
  projectionNames,
  publishedPieces,
  routedExpertShapes,
} from './architecture.ts'
import { check, type DecoderConfig, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { attentionSizes, CausalLM } from './decoder.ts'
import { describeExperts, expertCount, refuseTooManyChosen } from './moe-config.ts'

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

export class OlmoeForCausalLM extends CausalLM {
  constructor(config: OlmoeConfig, dispatch: DispatchOptions = { kind: 'dropless' }) {
    const { hidden_size: hiddenSize, num_experts: numExperts, hidden_act: activation } = config
    super(config, {
      attention: () =>
        new Attention({
          ...attentionSizes(config),
          bias: config.attention_bias ? 'all' : 'none',
          queryKeyNorm: { of: 'all heads', eps: config.rms_norm_eps },
          clip: config.clip_qkv,
        }),
      feedForward: () => {
        const [topK, normalize] = [config.num_experts_per_tok, config.norm_topk_prob]
        const gate = new TopKRouter({ hiddenSize, numExperts, topK, normalize })
        const intermediateSize = config.intermediate_size
        const experts = new GatedExperts({ hiddenSize, numExperts, intermediateSize, activation })
        return new MoeLayer(gate, experts, dispatch)
      },
    })
  }
}

export const olmoe: Architecture<OlmoeConfig> = {
  parseConfig,
  feedForward: ({ num_experts, num_experts_per_tok, num_hidden_layers: layers }) =>
    describeExperts(num_experts, num_experts_per_tok, layers, layers),
  toJson: (config, dtype) => ({ architectures: ['OlmoeForCausalLM'], ...decoderJson(config, dtype) }),
  parameterShapes,
  checkpointPieces: config => publishedPieces(parameterShapes(config), { experts: projectionNames }),
  inactiveParameters: config => {
    const expert = 3 * config.hidden_size * config.intermediate_size
    return (config.num_experts - config.num_experts_per_tok) * expert
  },
  create: config => new OlmoeForCausalLM(config),
}

function parseConfig(json: unknown, source: string): OlmoeConfig {
  const fields = check(moeFields, json, source)
  refuseTooManyChosen(fields.num_experts_per_tok, fields.num_experts, 'num_experts', source)
  return { model_type: 'olmoe', ...parseDecoderConfig(json, source, defaults), ...fields }
}

function parameterShapes(config: OlmoeConfig): ParameterShapes {
  const { hidden_size: hidden, num_experts: experts, intermediate_size } = config
  const attention = groupedAttentionShapes(config, {
    bias: config.attention_bias ? 'all' : 'none',
    queryKeyNorm: 'all heads',
  })
  const feedForward = () => ({
    ...routedExpertShapes(experts, hidden, intermediate_size),
  })
  return decoderShapes(config, feedForward, { attention })
}
