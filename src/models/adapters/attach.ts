// Low-rank adapters around parts of a model.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { StackedExperts } from '../../moe/index.ts'
import { Linear, type Module, type Parameter, replaceModules } from '../../nn/index.ts'
import { type Share, select, selectable, selectionSchema } from '../selection.ts'
import type { TrainableModel } from '../stack/trainable.ts'
import { LoraExperts } from './lora-experts.ts'
import { LoraLinear } from './lora-linear.ts'

/** `adapter` in recipes. */
export const adapterSchema = z.strictObject({
  kind: z.literal('lora').default('lora'),
  rank: z.int().positive().max(4096).default(8),
  /** What is learnt is scaled by `alpha / rank`. */
  alpha: z.number().positive().default(16),
  /** Of the inputs of adapters around linear layers. */
  dropout: z.number().min(0).lt(1).default(0),
  /** What they are around. */
  on: selectionSchema.default(['attention']),
})

export type AdapterConfig = z.infer<typeof adapterSchema>

export type AdapterModule = LoraLinear | LoraExperts

/**
 * Puts adapters around the linear layers and stacked experts of a selection. What is selected beside these, as norms and
 * routers, has none. At first the model computes what it did.
 *
 * @returns the adapters by path
 * @throws ConfigError when nothing that is selected can have one
 */
export function attachAdapters(model: TrainableModel, config: AdapterConfig): Map<string, AdapterModule> {
  const { on, ...options } = config
  const chosen = select(on, selectable(model), 'adapter.on')
  const attached = new Map<string, AdapterModule>()
  replaceModules(model, (module, path) => {
    const adapter = adapterOf(module, name => chosen.get(`${path}.${name}`) ?? null, options)
    if (adapter) attached.set(path, adapter)
    return adapter
  })
  if (attached.size > 0) return attached
  throw new ConfigError(
    `${on.join(',')} has no linear layer and no stacked experts, which adapters are for: name attention, experts, shared, dense or head`,
    { path: 'adapter.on' },
  )
}

function adapterOf(
  module: Module,
  chosen: (parameter: string) => Share | null,
  options: Omit<AdapterConfig, 'on'>,
): AdapterModule | undefined {
  if (module instanceof Linear) return chosen('weight') ? new LoraLinear(module, options) : undefined
  if (!(module instanceof StackedExperts)) return undefined
  const nameOf = (stack: Parameter): string =>
    [...module.namedParameters()].find(([, parameter]) => parameter === stack)?.[0] ?? ''
  const { up, down } = module.stacks
  const adapted = { up: chosen(nameOf(up)), down: chosen(nameOf(down)) }
  return adapted.up || adapted.down ? new LoraExperts(module, adapted, options) : undefined
}
