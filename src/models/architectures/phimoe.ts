// Phi-3.5-MoE (arXiv:2404.14219, arXiv:2409.12136): SparseMixer's top-2, layer norms with biases, long-text rotation.

import { z } from 'zod'
import { SparseMixerRouter } from '../../moe/index.ts'
import { LayerNorm } from '../../nn/index.ts'
import type { DecoderConfig } from '../stack/config.ts'
import { attentionSizes, type DecoderParts } from '../stack/parts.ts'
import type { Architecture } from './architecture.ts'
import { check, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { mixtralNames } from './mixtral.ts'
import { moeBlock } from './moe-block.ts'
import { expertCount } from './moe-config.ts'
import { publishedPieces } from './published-names.ts'

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

export const phimoe: Architecture<PhimoeConfig, DecoderParts> = {
  parseConfig,
  toJson: (config, dtype) => ({ architectures: ['PhimoeForCausalLM'], ...decoderJson(config, dtype) }),
  parts(config, build) {
    const { hidden_size: hiddenSize, num_local_experts: numExperts, hidden_act: activation } = config
    const { router_jitter_noise: closeness, intermediate_size: intermediateSize } = config
    return {
      attention: () =>
        build.attention({ ...attentionSizes(config), bias: config.attention_bias ? 'all' : 'none' }),
      norm: () => new LayerNorm(hiddenSize, config.rms_norm_eps),
      feedForward: () =>
        moeBlock(build, new SparseMixerRouter({ hiddenSize, numExperts, closeness }), {
          ...{ kind: 'gated', hiddenSize, numExperts, intermediateSize, activation },
        }),
      headBias: config.lm_head_bias,
    }
  },
  pieces: declarations => publishedPieces(declarations, mixtralNames),
}

function parseConfig(json: unknown, source: string): PhimoeConfig {
  const fields = check(moeFields, json, source)
  return { model_type: 'phimoe', ...parseDecoderConfig(json, source, defaults), ...fields }
}
