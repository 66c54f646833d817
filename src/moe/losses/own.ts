// Losses that are a router's own.

import { z } from 'zod'
import type { Tensor } from '../../torch/index.ts'
import { taughtLosses } from '../routers/table.ts'
import { type Decisions, type LossRow, summed } from './row.ts'

const schema = z.record(z.string(), z.number().nonnegative()).default({})

/** `losses.router` in recipes: coefficients by name, summed over layers. */
export const own: LossRow<typeof schema> = {
  schema,
  *terms(settings, decisions) {
    for (const [name, weight] of Object.entries(settings))
      yield* summed(`router.${name}`, weight, () => ofLayers(name, decisions))
  },
}

function ofLayers(name: string, { layers, tokenLosses }: Decisions): Tensor[] {
  const taught = taughtLosses[name]
  if (!taught) return layers.flatMap(layer => layer.losses?.[name] ?? [])
  const losses = tokenLosses()
  return layers.map(layer => taught(layer, losses))
}
