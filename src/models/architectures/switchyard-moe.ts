// Our own model types, for what no published architecture has: Mistral's attention, experts of any kind behind any
// router in some or all layers. This file is the decoder; Mixtral's rule is better saved as mixtral.

import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { type DispatchOptions, requireCausal, routerSchema } from '../moe/index.ts'
import { GatedMlp } from '../nn/index.ts'
import {
  type Architecture,
  decoderShapes,
  gatedMlpShapes,
  type ParameterShapes,
  wholePieces,
} from './architecture.ts'
import { check, type DecoderConfig, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { CausalLM, type FeedForward } from './decoder.ts'
import { checkExperts, type ExpertBlockConfig, expertBlock, expertsSchema } from './expert-block.ts'

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
  num_local_experts: z
    .int()
    .positive()
    .max(2 ** 20),
  experts: expertsSchema.prefault({}),
  router: routerSchema.nullish(),
  moe_layers: z.array(z.int().nonnegative()).max(10_000).optional(),
  dense_intermediate_size: width.optional(),
  shared_intermediate_size: width.default(0),
})

export class SwitchyardMoeForCausalLM extends CausalLM {
  constructor(config: SwitchyardMoeConfig, dispatch: DispatchOptions = { kind: 'dropless' }) {
    super(config, { feedForward: expertLayers(config, dispatch) })
  }

  override startsNormal(path: string): boolean {
    return !startsByItself(path)
  }
}

/** The feed-forward of each layer. */
export function expertLayers(
  config: ExpertLayersConfig,
  dispatch: DispatchOptions,
): (layer: number) => FeedForward {
  const block = expertBlock(config)
  return layer =>
    config.moe_layers.includes(layer)
      ? block.make(dispatch)
      : new GatedMlp(config.hidden_size, config.dense_intermediate_size)
}

/** Routers and PEER begin as their own files say. */
export function startsByItself(path: string): boolean {
  return /\.mlp\.(gate\.|query\.|sub_keys|input_weights|output_weights)/.test(path)
}

/** What both model files say of their experts. */
export const expertLayersFile = {
  feedForward(config: ExpertLayersConfig): string {
    const { experts, chooser } = expertBlock(config)
    const { moe_layers: layers, num_hidden_layers: all } = config
    return `${experts}${layers.length < all ? ` in ${layers.length} layers` : ''}, ${chooser}`
  },
  parameterShapes(config: ExpertLayersConfig): ParameterShapes {
    const { hidden_size: hidden, moe_layers, dense_intermediate_size: dense } = config
    const [block, plain] = [expertBlock(config).shapes, gatedMlpShapes('', hidden, dense)]
    return decoderShapes(config, layer =>
      Object.fromEntries(
        Object.entries(moe_layers.includes(layer) ? block : plain).map(([path, shape]) => [
          `mlp.${path}`,
          shape,
        ]),
      ),
    )
  },
  checkpointPieces: (config: ExpertLayersConfig) => wholePieces(expertLayersFile.parameterShapes(config)),
  inactiveParameters: (config: ExpertLayersConfig, layer: number): number =>
    config.moe_layers.includes(layer) ? expertBlock(config).inactive : 0,
}

export const switchyardMoe: Architecture<SwitchyardMoeConfig> = {
  ...expertLayersFile,
  parseConfig(json, source) {
    const config = parseExpertLayers(json, source)
    if (config.router !== null) requireCausal(config.router, `${source}: router`)
    return { model_type: 'switchyard_moe', ...config }
  },
  toJson: (config, dtype) => ({ architectures: ['SwitchyardMoeForCausalLM'], ...decoderJson(config, dtype) }),
  create: config => new SwitchyardMoeForCausalLM(config),
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
  const dense = fields.dense_intermediate_size ?? expertBlock(config).activeWidth
  return { ...config, dense_intermediate_size: dense }
}
