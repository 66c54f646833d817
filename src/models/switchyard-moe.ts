// A decoder with any causal router: Mistral's attention, experts in some or all layers, and if wanted a shared expert.
// Our own model type, for what no published architecture has; Mixtral's rule is better saved as mixtral.

import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import {
  activeExperts,
  createRouter,
  type DispatchOptions,
  GatedExperts,
  MoeLayer,
  type Router,
  type RouterConfig,
  type RouterSizes,
  requireCausal,
  routerSchema,
  routerShapes,
  withSharedExpert,
} from '../moe/index.ts'
import { GatedMlp, type Module } from '../nn/index.ts'
import { type Architecture, decoderShapes, type ParameterShapes, wholePieces } from './architecture.ts'
import { check, type DecoderConfig, type DecoderDefaults, decoderJson, parseDecoderConfig } from './config.ts'
import { CausalLM } from './decoder.ts'

export interface SwitchyardMoeConfig extends DecoderConfig {
  model_type: 'switchyard_moe'
  num_local_experts: number
  router: RouterConfig
  /** Layers with experts, counted from 0; the others are dense. */
  moe_layers: number[]
  /** Width of a dense layer's feed-forward. */
  dense_intermediate_size: number
  /** Width of an expert that every token passes beside its own; 0: none (DeepSeekMoE). */
  shared_intermediate_size: number
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
  router: routerSchema,
  moe_layers: z.array(z.int().nonnegative()).max(10_000).optional(),
  dense_intermediate_size: width.optional(),
  shared_intermediate_size: width.default(0),
})

export class SwitchyardMoeForCausalLM extends CausalLM {
  constructor(config: SwitchyardMoeConfig, dispatch: DispatchOptions = { kind: 'dropless' }) {
    super(config, {
      feedForward: layer =>
        config.moe_layers.includes(layer)
          ? moeBlock(config, dispatch)
          : new GatedMlp(config.hidden_size, config.dense_intermediate_size),
    })
  }

  /** Routers begin as their own files say. */
  protected override startsNormal(path: string): boolean {
    return !path.includes('.mlp.gate.')
  }
}

function moeBlock(config: SwitchyardMoeConfig, dispatch: DispatchOptions): MoeLayer {
  const sizes = sizesOf(config)
  const gate = createRouter(config.router, sizes) as Module & Router // parseConfig refused all others
  const experts = new GatedExperts({ ...sizes, intermediateSize: config.intermediate_size })
  const layer = new MoeLayer(gate, experts, dispatch)
  const shared = { hiddenSize: config.hidden_size, intermediateSize: config.shared_intermediate_size }
  return shared.intermediateSize > 0 ? withSharedExpert(layer, shared) : layer
}

const sizesOf = (config: SwitchyardMoeConfig): RouterSizes => ({
  hiddenSize: config.hidden_size,
  numExperts: config.num_local_experts,
  vocabSize: config.vocab_size,
})

export const switchyardMoe: Architecture<SwitchyardMoeConfig> = {
  parseConfig,
  feedForward: ({ num_local_experts, router, moe_layers, num_hidden_layers, shared_intermediate_size }) => {
    const shared = shared_intermediate_size > 0 ? ' and a shared one' : ''
    const where = moe_layers.length < num_hidden_layers ? ` in ${moe_layers.length} layers` : ''
    return `${num_local_experts} experts${shared}${where}, ${router.kind}`
  },
  toJson: (config, dtype) => ({ architectures: ['SwitchyardMoeForCausalLM'], ...decoderJson(config, dtype) }),
  parameterShapes,
  checkpointPieces: config => wholePieces(parameterShapes(config)),
  inactiveParameters: (config, layer) => {
    if (!config.moe_layers.includes(layer)) return 0
    const unused = config.num_local_experts - activeExperts(config.router, sizesOf(config))
    return unused * 3 * config.hidden_size * config.intermediate_size
  },
  create: config => new SwitchyardMoeForCausalLM(config),
}

function parseConfig(json: unknown, source: string): SwitchyardMoeConfig {
  const fields = check(moeFields, json, source)
  requireCausal(fields.router, `${source}: router`)
  const decoder = parseDecoderConfig(json, source, defaults)
  const layers = fields.num_hidden_layers
  const moeLayers = fields.moe_layers ?? Array.from({ length: layers }, (_, i) => i)
  const outside = moeLayers.find(layer => layer >= layers)
  if (outside !== undefined) {
    throw new ConfigError(`moe_layers names layer ${outside}, but there are ${layers}`, { path: source })
  }
  const config: SwitchyardMoeConfig = {
    model_type: 'switchyard_moe',
    ...decoder,
    num_local_experts: fields.num_local_experts,
    router: fields.router,
    moe_layers: moeLayers,
    dense_intermediate_size: 0,
    shared_intermediate_size: fields.shared_intermediate_size,
  }
  return { ...config, dense_intermediate_size: fields.dense_intermediate_size ?? activeWidth(config) }
}

/** Width of the dense feed-forward with as many active parameters as a layer of experts. */
function activeWidth(config: SwitchyardMoeConfig): number {
  const chosen = activeExperts(config.router, sizesOf(config))
  return chosen * config.intermediate_size + config.shared_intermediate_size
}

function parameterShapes(config: SwitchyardMoeConfig): ParameterShapes {
  const { hidden_size: hidden, intermediate_size, num_local_experts: experts } = config
  const gated = (prefix: string, width: number): Record<string, number[]> => ({
    [`${prefix}gate_proj.weight`]: [width, hidden],
    [`${prefix}up_proj.weight`]: [width, hidden],
    [`${prefix}down_proj.weight`]: [hidden, width],
  })
  const router = Object.entries(routerShapes(config.router, sizesOf(config)))
  const shared = config.shared_intermediate_size
  return decoderShapes(config, layer => {
    if (!config.moe_layers.includes(layer)) return gated('mlp.', config.dense_intermediate_size)
    return {
      ...Object.fromEntries(router.map(([path, shape]) => [`mlp.gate.${path}`, shape])),
      'mlp.experts.gate_up_proj': [experts, 2 * intermediate_size, hidden],
      'mlp.experts.down_proj': [experts, hidden, intermediate_size],
      ...(shared > 0 && gated('mlp.shared_expert.', shared)),
    }
  })
}
