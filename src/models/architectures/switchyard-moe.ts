// Our own model types, for what no published architecture has: Mistral's attention, experts of any kind behind any
// router in some or all layers. This file is the decoder; Mixtral's rule is better saved as mixtral.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { expertsSchema, requireCausal, routerSchema } from '../../moe/index.ts'
import { GatedMlp, type Role } from '../../nn/index.ts'
import type { DecoderConfig } from '../stack/config.ts'
import type { Build, DecoderParts } from '../stack/parts.ts'
import type { Architecture } from './architecture.ts'
import { check, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { activeWidth, checkExperts, chooserOf, type ExpertBlockConfig, expertBlock } from './expert-block.ts'
import { expertCount } from './moe-config.ts'

/** What our decoder and our encoder have in common. */
export interface ExpertLayersConfig extends DecoderConfig, ExpertBlockConfig {
  /** Layers with experts, counted from 0; the others are dense. */
  moe_layers: number[]
  /** Width of a dense layer's feed-forward. */
  dense_intermediate_size: number
}

export interface SwitchyardMoeConfig extends ExpertLayersConfig {
  model_type: 'switchyard_moe'
}

const defaults: DecoderDefaults = {
  num_key_value_heads: 8,
  max_position_embeddings: 4096,
  rms_norm_eps: 1e-5,
  rope_theta: 10_000,
  sliding_window: null,
  fixed: { attention_bias: [false], hidden_act: ['silu'] },
}

const width = z
  .int()
  .nonnegative()
  .max(2 ** 31)
const moeFields = z.looseObject({
  num_hidden_layers: z.int().positive().max(10_000),
  num_local_experts: expertCount,
  experts: expertsSchema.prefault({}),
  router: routerSchema.nullish(),
  moe_layers: z.array(z.int().nonnegative()).max(10_000).optional(),
  dense_intermediate_size: width.optional(),
  shared_intermediate_size: width.default(0),
})

/** Experts whose matrices are all alike: they start as every other matrix does. */
const plainKinds: readonly string[] = ['gated', 'plain', 'clamped']

/** Layers with experts, and dense ones between them. Routers, and experts made of several factors, start by their own rule. */
export function expertLayers(config: ExpertLayersConfig, build: Build): DecoderParts {
  const isPlain = plainKinds.includes(config.experts.kind)
  const ownStart: readonly Role[] = isPlain ? ['router'] : ['router', 'experts']
  return {
    ownStart,
    feedForward: layer =>
      config.moe_layers.includes(layer)
        ? expertBlock(config, build)
        : new GatedMlp(config.hidden_size, config.dense_intermediate_size),
  }
}

export const switchyardMoe: Architecture<SwitchyardMoeConfig, DecoderParts> = {
  parseConfig(json, source) {
    const config = parseExpertLayers(json, source)
    if (config.router !== null) requireCausal(config.router, `${source}: router`)
    return { model_type: 'switchyard_moe', ...config }
  },
  toJson: (config, dtype) => ({ architectures: ['SwitchyardMoeForCausalLM'], ...decoderJson(config, dtype) }),
  parts: expertLayers,
  chooser: chooserOf,
}

/** The fields that our decoder and our encoder share. */
export function parseExpertLayers(json: unknown, source: string): ExpertLayersConfig {
  const fields = check(moeFields, json, source)
  const decoder = parseDecoderConfig(json, source, defaults)
  const layers = fields.num_hidden_layers
  const moeLayers = fields.moe_layers ?? Array.from({ length: layers }, (_, i) => i)
  const outside = moeLayers.find(layer => layer >= layers)
  if (outside !== undefined) {
    throw new ConfigError(`moe_layers names layer ${outside}, but there are ${layers}`, { path: source })
  }
  const config: ExpertLayersConfig = {
    ...decoder,
    num_local_experts: fields.num_local_experts,
    experts: fields.experts,
    router: fields.router ?? null,
    moe_layers: moeLayers,
    dense_intermediate_size: 0,
    shared_intermediate_size: fields.shared_intermediate_size,
  }
  checkExperts(config, source)
  const dense = fields.dense_intermediate_size ?? activeWidth(config)
  return { ...config, dense_intermediate_size: dense }
}
