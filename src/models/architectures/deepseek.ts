// What DeepSeek-V2, -V3 and GLM-4-MoE share: leading dense layers, ungated shared experts, group-limited routing.

import { z } from 'zod'
import { BiasedTopKRouter, type Router } from '../../moe/index.ts'
import { GatedMlp, type Module, type SelfAttention, yarnMagnitude } from '../../nn/index.ts'
import type { DecoderConfig } from '../stack/config.ts'
import type { FeedForward } from '../stack/layers.ts'
import type { Build } from '../stack/parts.ts'
import type { CheckpointPiece, Declarations } from './architecture.ts'
import { moeBlock } from './moe-block.ts'
import { expertCount, layerNumber, width } from './moe-config.ts'
import { projectionNames, publishedPieces } from './published-names.ts'

export interface DeepseekMoeConfig extends DecoderConfig {
  n_routed_experts: number
  num_experts_per_tok: number
  moe_intermediate_size: number
  /** Experts of moe_intermediate_size that every token passes; they are one of as many times the width. */
  n_shared_experts: number
  /** Leading layers that are dense. */
  first_k_dense_replace: number
  /** Groups of experts, of which a token uses topk_group. */
  n_group: number
  topk_group: number
  routed_scaling_factor: number
  norm_topk_prob: boolean
  /** Layers after the last that predict further tokens; files may hold them, and they are left out. */
  num_nextn_predict_layers: number
}

/** A count that is 0 where it is left out or null. */
const none = z
  .int()
  .nonnegative()
  .max(10_000)
  .nullish()
  .transform(count => count ?? 0)
/** A number of groups; without groups all experts are one. */
const groups = z
  .int()
  .positive()
  .nullish()
  .transform(count => count ?? 1)

/** Fields of config.json, but for those whose defaults differ. */
export const deepseekMoeFields = {
  n_routed_experts: expertCount,
  num_experts_per_tok: z.int().positive(),
  moe_intermediate_size: width,
  n_shared_experts: none,
  first_k_dense_replace: layerNumber.default(0),
  n_group: groups,
  topk_group: groups,
  routed_scaling_factor: z.number().positive().default(1),
  num_nextn_predict_layers: none,
} as const

/** The layer of experts or, for a leading layer, the dense one. */
export function deepseekFeedForward(
  config: DeepseekMoeConfig,
  build: Build,
  layer: number,
  gate: () => Module & Router,
): FeedForward {
  const { hidden_size: hiddenSize, hidden_act: activation } = config
  if (layer < config.first_k_dense_replace)
    return new GatedMlp(hiddenSize, config.intermediate_size, activation)
  const experts = {
    kind: 'gated',
    hiddenSize,
    activation,
    numExperts: config.n_routed_experts,
    intermediateSize: config.moe_intermediate_size,
  } as const
  const shared = config.n_shared_experts * config.moe_intermediate_size
  return moeBlock(
    build,
    gate(),
    experts,
    shared > 0 ? { hiddenSize, activation, intermediateSize: shared } : undefined,
  )
}

/** The router of DeepSeek-V3 and GLM-4: sigmoid scores, and a bias that only selects. */
export function biasedGate(config: DeepseekMoeConfig): BiasedTopKRouter {
  return new BiasedTopKRouter({
    hiddenSize: config.hidden_size,
    numExperts: config.n_routed_experts,
    topK: config.num_experts_per_tok,
    groups: config.n_group,
    topGroups: config.topk_group,
    normalize: config.norm_topk_prob,
    scale: config.routed_scaling_factor,
  })
}

export function deepseekPieces(declarations: Declarations): CheckpointPiece[] {
  return publishedPieces(declarations, {
    rename: path => path.replace('.mlp.shared_expert.', '.mlp.shared_experts.'),
    experts: projectionNames,
  })
}

/** Whether a tensor belongs to the layers that predict further tokens. */
export function isDeepseekExtra(config: DeepseekMoeConfig, name: string): boolean {
  const layer = Number(/^model\.layers\.(\d+)\./.exec(name)?.[1] ?? -1)
  const { num_hidden_layers: layers, num_nextn_predict_layers: further } = config
  return layer >= layers && layer < layers + further
}

/** Multi-head latent attention's fields. */
export interface LatentConfig extends DecoderConfig {
  q_lora_rank: number | null
  kv_lora_rank: number
  qk_nope_head_dim: number
  /** Also the config's head_dim, as transformers has it: only these are rotated. */
  qk_rope_head_dim: number
  v_head_dim: number
  rope_interleave: boolean
}

export const latentFields = {
  q_lora_rank: width.nullable().default(null),
  kv_lora_rank: width.default(512),
  qk_nope_head_dim: width.default(128),
  qk_rope_head_dim: width.default(64),
  v_head_dim: width.default(128),
} as const

export function latentAttention(config: LatentConfig, build: Build): SelfAttention {
  return build.latentAttention({
    hiddenSize: config.hidden_size,
    numHeads: config.num_attention_heads,
    queryRank: config.q_lora_rank,
    keyValueRank: config.kv_lora_rank,
    plainDim: config.qk_nope_head_dim,
    rotaryDim: config.qk_rope_head_dim,
    valueDim: config.v_head_dim,
    bias: config.attention_bias,
    scale: (config.qk_nope_head_dim + config.qk_rope_head_dim) ** -0.5 * longTextFactor(config),
    interleaved: config.rope_interleave,
  })
}

/** YaRN's magnitude, squared, where it is meant for the scores and not for cosines and sines. */
function longTextFactor({ rope_scaling: scaling }: DecoderConfig): number {
  if (scaling.rope_type !== 'yarn' || !scaling.mscale_all_dim) return 1
  return yarnMagnitude(scaling.factor, scaling.mscale_all_dim) ** 2
}

/** The config of an MLA model as the decoder's part reads it: head_dim is what is rotated, heads are not grouped. */
export function withLatentHeads(json: unknown, rotaryDim: number): Record<string, unknown> {
  return { ...(json as Record<string, unknown>), head_dim: rotaryDim, num_key_value_heads: null }
}
