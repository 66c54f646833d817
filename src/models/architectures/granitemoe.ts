// Granite-MoE (arXiv:2407.05467 and IBM's Granite 3): Mixtral's rule with four factors in place of usual scales.

import { z } from 'zod'
import { TopKRouter } from '../../moe/index.ts'
import type { DecoderConfig } from '../stack/config.ts'
import { attentionSizes, type DecoderParts } from '../stack/parts.ts'
import type { Architecture } from './architecture.ts'
import { check, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { moeBlock } from './moe-block.ts'
import { expertCount, refuseTooManyChosen } from './moe-config.ts'
import { publishedPieces } from './published-names.ts'

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

/** Files hold experts stacked already, under names of their own. */
const published: Record<string, string> = {
  'mlp.gate.weight': 'block_sparse_moe.router.layer.weight',
  'mlp.experts.gate_up_proj': 'block_sparse_moe.input_linear.weight',
  'mlp.experts.down_proj': 'block_sparse_moe.output_linear.weight',
}

export const graniteMoe: Architecture<GraniteMoeConfig, DecoderParts> = {
  parseConfig,
  toJson: (config, dtype) => ({ architectures: ['GraniteMoeForCausalLM'], ...decoderJson(config, dtype) }),
  parts(config, build) {
    const { hidden_size: hiddenSize, num_local_experts: numExperts, hidden_act: activation } = config
    const { num_experts_per_tok: topK, intermediate_size: intermediateSize } = config
    return {
      attention: () =>
        build.attention({
          ...attentionSizes(config),
          bias: config.attention_bias ? 'all' : 'none',
          scale: config.attention_multiplier,
        }),
      feedForward: () =>
        moeBlock(build, new TopKRouter({ hiddenSize, numExperts, topK, order: 'topk-softmax' }), {
          ...{ kind: 'gated', hiddenSize, numExperts, intermediateSize, activation },
        }),
      scales: {
        embedding: config.embedding_multiplier,
        residual: config.residual_multiplier,
        logits: 1 / config.logits_scaling,
      },
    }
  },
  pieces: declarations =>
    publishedPieces(declarations, {
      rename: path => path.replace(/mlp\.[\w.]+$/, part => published[part] ?? part),
    }),
}

function parseConfig(json: unknown, source: string): GraniteMoeConfig {
  const fields = check(moeFields, json, source)
  refuseTooManyChosen(fields.num_experts_per_tok, fields.num_local_experts, 'num_local_experts', source)
  return { model_type: 'granitemoe', ...parseDecoderConfig(json, source, defaults), ...fields }
}
