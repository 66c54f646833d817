// How a model would run within a budget, of which nothing is loaded.

import { CausalLM, type ModelSource, sizesWithoutExperts } from '../../models/index.ts'
import { type Budget, type BudgetPlan, type MemoryPlan, planBudget } from './budget.ts'
import { allBytes, kindOf } from './layer-rows.ts'
import { refuseWithoutExperts, tieredLayers } from './tiered-layers.ts'

/** How a model would run within a budget, without loading it. */
export interface TieredOutlook {
  plan: BudgetPlan
  /** Experts of all layers. */
  total: number
  /** Of them, those that fit. */
  resident: number
  /** And those that fit on the device that computes; null where there is none. */
  onDevice: number | null
  /** Bytes of experts that one token uses. */
  usedPerToken: number
}

/** What node and libtorch take before a model is loaded, as it was seen. */
const runtimeBytes = 260e6

/** @throws ConfigError as loadTiered() */
export function planTiered(source: ModelSource, budget: Budget): TieredOutlook {
  const { model, experts, bytes: stored } = sizesWithoutExperts(source)
  const bytes = budget.device ? 0 : stored
  const layers = tieredLayers(model, experts)
  const rows = layers.map(layer => layer.rows)
  if (!(model instanceof CausalLM) || layers.length === 0) refuseWithoutExperts(source)
  const plan = planBudget(model, source.config, rows, { fixed: runtimeBytes + bytes, budget })
  const total = layers.reduce((sum, { layer }) => sum + layer.gate.numExperts, 0)
  const usedPerToken = layers.reduce(
    (sum, { layer, rows: of }) => sum + layer.gate.active * allBytes([kindOf(of)], 1),
    0,
  )
  const fitting = ({ experts, allExperts }: MemoryPlan): number => Math.floor((total * experts) / allExperts)
  const onDevice = plan.device && fitting(plan.device)
  return { plan, total, resident: fitting(plan), onDevice, usedPerToken }
}
