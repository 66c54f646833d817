// Mixtral (arXiv:2401.04088): Mistral's attention, and in every layer a top-k mixture of SwiGLU experts.

import { z } from 'zod'
import { FormatError } from '../../errors.ts'
import { TopKRouter } from '../../moe/index.ts'
import type { DecoderConfig } from '../stack/config.ts'
import type { DecoderParts } from '../stack/parts.ts'
import type { Architecture } from './architecture.ts'
import { check, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { mergedExperts, pairedForRotation, separateExperts, splitExperts } from './gguf/pieces.ts'
import type { GgufRow } from './gguf/row.ts'
import type { MistralConfig } from './mistral.ts'
import { moeBlock } from './moe-block.ts'
import { expertCount, refuseTooManyChosen } from './moe-config.ts'
import { type PublishedNames, publishedPieces } from './published-names.ts'

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
  num_local_experts: expertCount.default(8),
  num_experts_per_tok: z.int().positive().default(2),
  router_aux_loss_coef: z.number().nonnegative().default(0.001),
  router_jitter_noise: z.literal(0).nullish(),
})

/** Files name the router and every expert apart: `block_sparse_moe.experts.E.w1` (gate), `w3` (up), `w2` (down). */
export const mixtralNames: PublishedNames = {
  rename: path => path.replace('.mlp.gate.', '.block_sparse_moe.gate.'),
  experts: { folder: 'block_sparse_moe.experts', gate: 'w1', up: 'w3', down: 'w2' },
}

/** The architecture `llama`, with experts. */
const gguf: GgufRow<MixtralConfig> = {
  name: 'llama',
  modelType(meta) {
    if (meta.numberOr('expert_count', 0) > 0) return 'mixtral'
    throw new FormatError('is a dense llama, which has no experts: there is no model type for it here', {
      file: meta.file,
    })
  },
  configFields: meta => ({
    num_local_experts: meta.number('expert_count'),
    num_experts_per_tok: meta.number('expert_used_count'),
  }),
  writeFields(to, config) {
    to.u32('expert_count', config.num_local_experts)
    to.u32('expert_used_count', config.num_experts_per_tok)
    to.u32('rope.dimension_count', config.head_dim)
    to.u32('attention.key_length', config.head_dim)
    to.u32('attention.value_length', config.head_dim)
  },
  layouts(config, declarations) {
    const heads = { q_proj: config.num_attention_heads, k_proj: config.num_key_value_heads }
    return [
      pairedForRotation(splitExperts(declarations), heads),
      mergedExperts(declarations),
      separateExperts(declarations),
    ]
  },
}

/** Top-k of the logits, softmax over the chosen, no capacity. */
export const mixtral: Architecture<MixtralConfig, DecoderParts> = {
  parseConfig,
  toJson: (config, dtype) => ({ architectures: ['MixtralForCausalLM'], ...decoderJson(config, dtype) }),
  parts(config, build) {
    const sizes = { hiddenSize: config.hidden_size, numExperts: config.num_local_experts }
    return {
      feedForward: () =>
        moeBlock(
          build,
          new TopKRouter({ ...sizes, topK: config.num_experts_per_tok, order: 'topk-softmax' }),
          {
            kind: 'gated',
            ...sizes,
            intermediateSize: config.intermediate_size,
            activation: config.hidden_act,
          },
        ),
    }
  },
  pieces: declarations => publishedPieces(declarations, mixtralNames),
  gguf,
}

function parseConfig(json: unknown, source: string): MixtralConfig {
  const { num_local_experts, num_experts_per_tok, router_aux_loss_coef } = check(moeFields, json, source)
  refuseTooManyChosen(num_experts_per_tok, num_local_experts, 'num_local_experts', source)
  const decoder = parseDecoderConfig(json, source, defaults)
  return { model_type: 'mixtral', ...decoder, num_local_experts, num_experts_per_tok, router_aux_loss_coef }
}

/**
 * The dense model of equal active parameters per token, router aside: one feed-forward of K times an expert's width.
 */
export function denseTwin(config: MixtralConfig): MistralConfig {
  const { num_local_experts: _, num_experts_per_tok: topK, router_aux_loss_coef: __, ...decoder } = config
  return { ...decoder, model_type: 'mistral', intermediate_size: topK * config.intermediate_size }
}
