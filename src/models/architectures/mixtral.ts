// Mixtral (arXiv:2401.04088): Mistral's attention, and in every layer a top-k mixture of SwiGLU experts.

import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { type DispatchOptions, GatedExperts, MoeLayer, TopKRouter } from '../moe/index.ts'
import {
  type Architecture,
  decoderShapes,
  type ParameterShapes,
  type PublishedNames,
  publishedPieces,
  routedExpertShapes,
} from './architecture.ts'
import { check, type DecoderConfig, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { CausalLM } from './decoder.ts'
import type { MistralConfig } from './mistral.ts'

export interface MixtralConfig extends DecoderConfig {
  model_type: 'mixtral'
  num_local_experts: number
  num_experts_per_tok: number
  /** Coefficient of the balance loss in HF's convention (hfBalanceLoss). */
  router_aux_loss_coef: number
}

const defaults: DecoderDefaults = {
  num_key_value_heads: 8,
  max_position_embeddings: 131_072,
  rms_norm_eps: 1e-5,
  rope_theta: 1_000_000,
  sliding_window: null,
  fixed: { attention_bias: [false] },
}

const moeFields = z.looseObject({
  num_local_experts: z
    .int()
    .positive()
    .max(2 ** 20)
    .default(8),
  num_experts_per_tok: z.int().positive().default(2),
  router_aux_loss_coef: z.number().nonnegative().default(0.001),
  router_jitter_noise: z.literal(0).nullish(),
})

/** Top-k of the logits, softmax over the chosen, no capacity. */
export class MixtralForCausalLM extends CausalLM {
  constructor(config: MixtralConfig, dispatch: DispatchOptions = { kind: 'dropless' }) {
    const sizes = { hiddenSize: config.hidden_size, numExperts: config.num_local_experts }
    super(config, {
      feedForward: () => {
        const gate = new TopKRouter({ ...sizes, topK: config.num_experts_per_tok, order: 'topk-softmax' })
        const experts = new GatedExperts({
          ...sizes,
          intermediateSize: config.intermediate_size,
          activation: config.hidden_act,
        })
        return new MoeLayer(gate, experts, dispatch)
      },
    })
  }
}

export const mixtral: Architecture<MixtralConfig> = {
  parseConfig,
  feedForward: config => `${config.num_local_experts} experts top-${config.num_experts_per_tok}`,
  toJson: (config, dtype) => ({ architectures: ['MixtralForCausalLM'], ...decoderJson(config, dtype) }),
  parameterShapes,
  checkpointPieces: config => publishedPieces(parameterShapes(config), mixtralNames),
  inactiveParameters: config => {
    const expert = 3 * config.hidden_size * config.intermediate_size
    return (config.num_local_experts - config.num_experts_per_tok) * expert
  },
  create: config => new MixtralForCausalLM(config),
}

function parseConfig(json: unknown, source: string): MixtralConfig {
  const { num_local_experts, num_experts_per_tok, router_aux_loss_coef } = check(moeFields, json, source)
  if (num_experts_per_tok > num_local_experts) {
    throw new ConfigError(
      `num_experts_per_tok ${num_experts_per_tok} must not exceed num_local_experts ${num_local_experts}`,
      { path: source },
    )
  }
  const decoder = parseDecoderConfig(json, source, defaults)
  return { model_type: 'mixtral', ...decoder, num_local_experts, num_experts_per_tok, router_aux_loss_coef }
}

function parameterShapes(config: MixtralConfig): ParameterShapes {
  const { hidden_size: hidden, intermediate_size: width, num_local_experts: experts } = config
  return decoderShapes(config, () => ({
    ...routedExpertShapes(experts, hidden, width),
  }))
}

/** Files name the router and every expert apart: `block_sparse_moe.experts.E.w1` (gate), `w3` (up), `w2` (down). */
export const mixtralNames: PublishedNames = {
  rename: path => path.replace('.mlp.gate.', '.block_sparse_moe.gate.'),
  experts: { folder: 'block_sparse_moe.experts', gate: 'w1', up: 'w3', down: 'w2' },
}

/**
 * The dense model of equal active parameters per token, router aside: one feed-forward of K times an expert's width.
 */
export function denseTwin(config: MixtralConfig): MistralConfig {
  const { num_local_experts: _, num_experts_per_tok: topK, router_aux_loss_coef: __, ...decoder } = config
  return { ...decoder, model_type: 'mistral', intermediate_size: topK * config.intermediate_size }
}
