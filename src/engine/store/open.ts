// A model within a budget of memory: everything but experts is loaded, and these come when they are chosen.

import { ConfigError } from '../../errors.ts'
import {
  type AnyModel,
  CausalLM,
  type ExpertRows,
  loadWithoutExperts,
  type ModelSource,
} from '../../models/index.ts'
import { MoeLayer, StackedExperts } from '../../moe/index.ts'
import type { Module, Parameter } from '../../nn/index.ts'
import { emptyCache } from '../../torch/index.ts'
import { createPolicy, defaultPolicy, type PolicyConfig } from '../cache/table.ts'
import { type Budget, type BudgetPlan, planBudget } from './budget.ts'
import { ExpertFiles, type ReadMode } from './expert-files.ts'
import { ExpertStore, type LayerRows } from './expert-store.ts'
import { tieredWeights } from './tiered-weights.ts'

export interface TieredOptions extends Budget {
  /** Which experts give up their places. Default: by how many fit; see defaultPolicy(). */
  policy?: PolicyConfig
  /** Default cached: what the system keeps of files beyond the budget makes reads quicker, and is given up when others need it. */
  read?: ReadMode
}

/** A decoder, its experts, and how memory is divided. */
export interface TieredModel extends Disposable {
  model: CausalLM
  store: ExpertStore
  plan: BudgetPlan
}

/**
 * Loads a decoder whose experts stay in its files until they are needed. What it writes does not depend on the budget.
 *
 * @throws ConfigError for a budget below what works, and for models without experts that can be read one by one
 */
export function loadTiered(source: ModelSource, { policy, read, ...budget }: TieredOptions): TieredModel {
  const { model, experts } = loadWithoutExperts(source)
  if (!(model instanceof CausalLM))
    throw new ConfigError('only decoders run within a budget', { path: source.path })
  const layers = tieredLayers(model, experts)
  if (layers.length === 0) {
    model.dispose()
    throw new ConfigError('has no experts that can be read one by one: leave the budget out', {
      path: source.path,
    })
  }
  emptyCache()
  const fixed = process.memoryUsage.rss()
  const plan = planBudget(
    model,
    source.config,
    layers.map(({ rows }) => rows),
    { fixed, budget },
  )
  const [first] = layers as [TieredLayer]
  const { numExperts } = first.layer.gate
  const grid = { layers: layers.length, experts: numExperts }
  const perLayer = Math.floor((numExperts * plan.experts) / plan.allExperts)
  const chosen = policy ?? defaultPolicy(perLayer, numExperts, first.layer.gate.active)
  const store = new ExpertStore(
    layers.map(({ rows }) => rows),
    {
      bytes: plan.experts,
      experts: numExperts,
      files: new ExpertFiles(read),
      policy: createPolicy(chosen, grid),
    },
  )
  for (const [i, { experts: served }] of layers.entries())
    served.serveFrom(tieredWeights(store, i, served.stacks))
  const dispose = (): void => {
    store[Symbol.dispose]()
    model.dispose()
  }
  return { model, store, plan, [Symbol.dispose]: dispose }
}

interface TieredLayer {
  layer: MoeLayer
  experts: StackedExperts
  rows: LayerRows
}

/** The layers whose experts are still in files, in order. */
function tieredLayers(model: AnyModel, rows: ReadonlyMap<string, ExpertRows>): TieredLayer[] {
  const paths = new Map([...model.namedParameters()].map(([path, parameter]) => [parameter, path]))
  const rowsOf = (parameter: Parameter): ExpertRows | undefined => rows.get(paths.get(parameter) ?? '')
  return [...model.namedModules()].flatMap(([, layer]: [string, Module]) => {
    if (!(layer instanceof MoeLayer) || !(layer.experts instanceof StackedExperts)) return []
    const { experts } = layer
    const [up, down] = [rowsOf(experts.stacks.up), rowsOf(experts.stacks.down)]
    return up && down ? [{ layer, experts, rows: { up, down } }] : []
  })
}
