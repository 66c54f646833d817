// Granite-MoE (arXiv:2407.05467 and IBM's Granite 3): Mixtral's rule with four factors in place of usual scales.

import { z } from 'zod'
import { type DispatchOptions, GatedExperts, MoeLayer, TopKRouter } from '../moe/index.ts'
import { Attention } from '../nn/index.ts'
import {
  type Architecture,
  type CheckpointPiece,
  decoderShapes,
  groupedAttentionShapes,
  type ParameterShapes,
  publishedPieces,
  routedExpertShapes,
} from './architecture.ts'
import { check, type DecoderConfig, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { attentionSizes, CausalLM } from './decoder.ts'
import { describeExperts, expertCount, refuseTooManyChosen } from './moe-config.ts'

export interface GraniteMoeConfig extends DecoderConfig {
  model_type: 'granitemoe'
  num_local_experts: number
  num_experts_per_tok: number
  /** Multiplies the embeddings. */
  embedding_multiplier: number
  /** Multiplies both branches of a layer. */
  residual_multiplier: number
  /** Multiplies attention's scores, in place of 1 / sqrt(head_dim). */
  attention_multiplier: number
  /** Divides the logits. */
  logits_scaling: number
  router_aux_loss_coef: number
}

const defaults: DecoderDefaults = {
  num_key_value_heads: null,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-6,
  rope_theta: 10_000,
  sliding_window: null,
  fixed: { sliding_window: [null] },
}

const factor = z.number().positive().default(1)
const moeFields = z.object({
  num_local_experts: expertCount.default(8),
  num_experts_per_tok: z.int().positive().default(2),
  embedding_multiplier: factor,
  residual_multiplier: factor,
  attention_multiplier: factor,
  logits_scaling: factor,
  router_aux_loss_coef: z.number().nonnegative().default(0.001),
})

export class GraniteMoeForCausalLM extends CausalLM {
  constructor(config: GraniteMoeConfig, dispatch: DispatchOptions = { kind: 'dropless' }) {
    const { hidden_size: hiddenSize, num_local_experts: numExperts, hidden_act: activation } = config
    super(config, {
      attention: () =>
        new Attention({
          ...attentionSizes(config),
          bias: config.attention_bias ? 'all' : 'none',
          scale: config.attention_multiplier,
        }),
      feedForward: () => {
        const topK = config.num_experts_per_tok
        const gate = new TopKRouter({ hiddenSize, numExperts, topK, order: 'topk-softmax' })
        const intermediateSize = config.intermediate_size
        const experts = new GatedExperts({ hiddenSize, numExperts, intermediateSize, activation })
        return new MoeLayer(gate, experts, dispatch)
      },
      scales: {
        embedding: config.embedding_multiplier,
        residual: config.residual_multiplier,
        logits: 1 / config.logits_scaling,
      },
    })
  }
}

export const graniteMoe: Architecture<GraniteMoeConfig> = {
  parseConfig,
  feedForward: ({ num_local_experts, num_experts_per_tok, num_hidden_layers: layers }) =>
    describeExperts(num_local_experts, num_experts_per_tok, layers, layers),
  toJson: (config, dtype) => ({ architectures: ['GraniteMoeForCausalLM'], ...decoderJson(config, dtype) }),
  parameterShapes,
  checkpointPieces,
  inactiveParameters: config => {
    const expert = 3 * config.hidden_size * config.intermediate_size
    return (config.num_local_experts - config.num_experts_per_tok) * expert
  },
  create: config => new GraniteMoeForCausalLM(config),
}

function parseConfig(json: unknown, source: string): GraniteMoeConfig {
  const fields = check(moeFields, json, source)
  refuseTooManyChosen(fields.num_experts_per_tok, fields.num_local_experts, 'num_local_experts', source)
  return { model_type: 'granitemoe', ...parseDecoderConfig(json, source, defaults), ...fields }
}

function parameterShapes(config: GraniteMoeConfig): ParameterShapes {
  const { hidden_size: hidden, num_local_experts: experts, intermediate_size } = config
  const attention = groupedAttentionShapes(config, { bias: config.attention_bias ? 'all' : 'none' })
  const feedForward = () => ({
    ...routedExpertShapes(experts, hidden, intermediate_size),
  })
  return decoderShapes(config, feedForward, { attention })
}

/** Files hold experts stacked already, under names of their own. */
function checkpointPieces(config: GraniteMoeConfig): CheckpointPiece[] {
  const published: Record<string, string> = {
    'mlp.gate.weight': 'block_sparse_moe.router.layer.weight',
    'mlp.experts.gate_up_proj': 'block_sparse_moe.input_linear.weight',
    'mlp.experts.down_proj': 'block_sparse_moe.output_linear.weight',
  }
  const rename = (path: string): string => path.replace(/mlp\.[\w.]+$/, part => published[part] ?? part)
  return publishedPieces(parameterShapes(config), { rename })
}
