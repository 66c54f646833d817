// Optimizers by the name that recipes give them.

import type { z } from 'zod'
import { kindsOf } from '../../kinds.ts'
import type { Declaration, Parameter } from '../../nn/index.ts'
import { adafactor } from './adafactor.ts'
import { adamw } from './adamw.ts'
import { parameterGroups } from './groups.ts'
import { muon } from './muon.ts'
import type { HalfPrecision, Optimizer, OptimizerRow } from './optimizer.ts'
import { sgd } from './sgd.ts'

const rows = { adamw, muon, adafactor, sgd } as const

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
  return rowOf(config).make(groups, config, half)
}

/** What an optimizer's memory is, beside parameters and gradients. */
export interface OptimizerMemory {
  /** Bytes that are kept of a parameter; see {@link OptimizerRow}. */
  stateBytes(declaration: Declaration, half: HalfPrecision | null): number
  /** Bytes that moving it takes for a moment. */
  workBytes(declaration: Declaration): number
}

export function optimizerMemory(config: OptimizerConfig): OptimizerMemory {
  const row = rowOf(config)
  return {
    stateBytes: (declaration, half) => row.stateBytes(declaration, config, half),
    workBytes: declaration => row.workBytes?.(declaration, config) ?? 0,
  }
}

const rowOf = ({ kind }: OptimizerConfig): OptimizerRow<z.ZodType<OptimizerConfig>> =>
  rows[kind] as OptimizerRow<z.ZodType<OptimizerConfig>>
