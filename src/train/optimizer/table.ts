// Optimizers by the name that recipes give them.

import type { z } from 'zod'
import { kindsOf } from '../../kinds.ts'
import type { Parameter } from '../../nn/index.ts'
import { adamw } from './adamw.ts'
import { parameterGroups } from './groups.ts'
import type { HalfPrecision, Optimizer, OptimizerRow } from './optimizer.ts'

const rows = { adamw } as const

/** Settings of an optimizer, told apart by `kind`; AdamW when they name none. */
export const optimizerSchema = kindsOf(rows)

export type OptimizerConfig = z.infer<typeof optimizerSchema>

/** An optimizer of parameters by path, in the groups that the settings know. */
export function createOptimizer(
  parameters: ReadonlyMap<string, Parameter>,
  config: OptimizerConfig,
  half: HalfPrecision = {},
): Optimizer {
  const groups = parameterGroups(parameters, config.groups, config.weightDecay)
  return (rows[config.kind] as OptimizerRow<z.ZodType<OptimizerConfig>>).make(groups, config, half)
}
