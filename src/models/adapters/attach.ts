// Adapters around parts of a model, by kind.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { kinds } from '../../kinds.ts'
import { StackedExperts } from '../../moe/index.ts'
import { GatedMlp, Linear, type Module, type Parameter, replaceModules } from '../../nn/index.ts'
import { type Share, select, selectable, selectionSchema } from '../selection.ts'
import type { TrainableModel } from '../stack/trainable.ts'
import { LoraExperts } from './lora-experts.ts'
import { LoraLinear, type LoraOptions } from './lora-linear.ts'
import { MixLora } from './mix-lora.ts'
import { MoLoraLinear, MovLinear } from './soft-mixtures.ts'

const loraFields = {
  rank: z.int().positive().max(4096).default(8),
  /** What is learnt is scaled by `alpha / rank`. */
  alpha: z.number().positive().default(16),
  /** Of the inputs of adapters around linear layers. */
  dropout: z.number().min(0).lt(1).default(0),
}

const loraSchema = z.strictObject({
  kind: z.literal('lora'),
  ...loraFields,
  /** What they are around. */
  on: selectionSchema.default(['attention']),
})

const mixLoraSchema = z.strictObject({
  kind: z.literal('mixlora'),
  ...loraFields,
  /** Low-rank experts that share a dense feed-forward, and how many of them a token has. */
  experts: z.int().positive().max(1024).default(8),
  k: z.int().positive().default(2),
  on: selectionSchema.default(['attention', 'dense']),
})

const moLoraSchema = z.strictObject({
  kind: z.literal('molora'),
  ...loraFields,
  /** Low-rank sums of a layer, all of which count for each token. */
  experts: z.int().positive().max(1024).default(8),
  on: selectionSchema.default(['attention']),
})

const movSchema = z.strictObject({
  kind: z.literal('mov'),
  /** Vectors that scale what a layer gives, all of which count for each token. */
  experts: z.int().positive().max(1024).default(8),
  on: selectionSchema.default(['attention', 'dense', 'shared']),
})

/** `adapter` in recipes. */
export const adapterSchema = kinds(loraSchema, mixLoraSchema, moLoraSchema, movSchema)

export type AdapterConfig = z.infer<typeof adapterSchema>

export type AdapterModule = LoraLinear | LoraExperts | MixLora | MoLoraLinear | MovLinear

/** How much is to be adapted of what lies at a path; null: nothing. */
export type Chosen = (path: string) => Share | null

/**
 * Puts adapters around the parts of a selection that they are for: low-rank ones around linear layers and stacked experts; of
 * MixLoRA around linear layers, and experts around dense feed-forwards; of MoLoRA and MoV around linear layers. What is selected
 * beside these, as norms and routers, has none. At first the model computes what it did.
 *
 * @returns the adapters by path
 * @throws ConfigError when nothing that is selected can have one, or a token more experts than there are
 */
export function attachAdapters(model: TrainableModel, config: AdapterConfig): Map<string, AdapterModule> {
  const { kind, on } = config
  if (kind === 'mixlora' && config.k > config.experts)
    throw new ConfigError(`${config.k} exceeds adapter.experts, ${config.experts}`, { path: 'adapter.k' })
  const chosen = select(on, selectable(model), 'adapter.on')
  const attached = adapt(model, config, path => chosen.get(path) ?? null)
  if (kind === 'mixlora' && ![...attached.values()].some(adapter => adapter instanceof MixLora))
    refuse(on, 'dense feed-forward, which mixlora is around: name dense, or take adapter.kind lora')
  if (attached.size === 0)
    refuse(
      on,
      'linear layer and no stacked experts, which adapters are for: name attention, experts, shared, dense or head',
    )
  return attached
}

function refuse(on: readonly string[], lacks: string): never {
  throw new ConfigError(`${on.join(',')} has no ${lacks}`, { path: 'adapter.on' })
}

/** Puts adapters around what is to be adapted, by the paths of parameters. */
export function adapt(model: Module, config: AdapterConfig, chosen: Chosen): Map<string, AdapterModule> {
  const attached = new Map<string, AdapterModule>()
  replaceModules(model, (module, path) => {
    const adapter = adapterOf(module, name => chosen(`${path}.${name}`), config)
    if (adapter) attached.set(path, adapter)
    return adapter
  })
  return attached
}

function adapterOf(module: Module, chosen: Chosen, config: AdapterConfig): AdapterModule | undefined {
  if (module instanceof Linear) return chosen('weight') ? adapterOfLinear(module, config) : undefined
  if (module instanceof StackedExperts && config.kind === 'lora')
    return adapterOfStacks(module, chosen, config)
  if (!(module instanceof GatedMlp) || config.kind !== 'mixlora') return undefined
  // Shared experts are gated feed-forwards too, but of those a layer wants nothing but what they give.
  const isLayer = module.down_proj.weight.declaration.role === 'dense'
  return isLayer && chosen('down_proj.weight') ? new MixLora(module, config) : undefined
}

function adapterOfLinear(linear: Linear, config: AdapterConfig): AdapterModule | undefined {
  if (config.kind === 'lora' || config.kind === 'mixlora') return new LoraLinear(linear, config)
  // Where more than forward() reads the matrix, there is none that holds for all tokens.
  if (!linear.weight.declaration.encodable) return undefined
  const { experts } = config
  return config.kind === 'molora' ? new MoLoraLinear(linear, experts, config) : new MovLinear(linear, experts)
}

function adapterOfStacks(
  module: StackedExperts,
  chosen: Chosen,
  options: LoraOptions,
): LoraExperts | undefined {
  const nameOf = (stack: Parameter): string =>
    [...module.namedParameters()].find(([, parameter]) => parameter === stack)?.[0] ?? ''
  const { up, down } = module.stacks
  const adapted = { up: chosen(nameOf(up)), down: chosen(nameOf(down)) }
  return adapted.up || adapted.down ? new LoraExperts(module, adapted, options) : undefined
}
