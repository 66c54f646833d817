// A model within a budget of memory: everything but experts is loaded, and these come when they are chosen.

import { ConfigError } from '../../errors.ts'
import { CausalLM, type ExpertRows, loadWithoutExperts, type ModelSource } from '../../models/index.ts'
import { MoeLayer, StackedExperts } from '../../moe/index.ts'
import type { Module, Parameter } from '../../nn/index.ts'
import { emptyCache } from '../../torch/index.ts'
import { createPolicy, defaultPolicy, type PolicyConfig } from '../cache/table.ts'
import { type Budget, type BudgetPlan, planBudget } from './budget.ts'
import { ExpertFiles, type ReadMode } from './expert-files.ts'
import { allBytes, ExpertStore, type LayerRows } from './expert-store.ts'
import { tieredWeights } from './tiered-weights.ts'

export interface StoreSettings {
  /** Which experts give up their places. Default: by how many fit; see defaultPolicy(). */
  policy?: PolicyConfig
  /**
   * How experts are read. Default cached: what the system keeps of files beside the budget makes reads quicker, and is given
   * up when others need it.
   */
  read?: ReadMode
}

/** A decoder whose experts are in its files. Disposing of it frees both. */
export class TieredModel implements Disposable {
  readonly model: CausalLM
  readonly #source: ModelSource
  readonly #layers: readonly TieredLayer[]
  #store: ExpertStore | null = null

  /** @throws ConfigError for models without experts that can be read one by one */
  constructor(source: ModelSource) {
    const { model, experts } = loadWithoutExperts(source)
    this.#source = source
    this.#layers = tieredLayers(model, experts)
    if (!(model instanceof CausalLM) || this.#layers.length === 0) {
      model.dispose()
      throw new ConfigError('is no decoder with experts that can be read one by one: leave the budget out', {
        path: source.path,
      })
    }
    this.model = model
  }

  /** What is in memory of its experts. */
  get store(): ExpertStore {
    if (this.#store === null)
      throw new ConfigError('has no room for experts yet: call keepExperts()', { path: this.#source.path })
    return this.#store
  }

  /** How a budget is divided, for a process that holds what it holds now. @throws ConfigError for one that is too small */
  plan(budget: Budget): BudgetPlan {
    emptyCache()
    const rows = this.#layers.map(layer => layer.rows)
    return planBudget(this.model, this.#source.config, rows, { fixed: process.memoryUsage.rss(), budget })
  }

  /** Makes room for experts: from now on the model runs. */
  keepExperts(bytes: number, { policy, read }: StoreSettings = {}): ExpertStore {
    const [{ layer }] = this.#layers as [TieredLayer]
    const { numExperts, active } = layer.gate
    const rows = this.#layers.map(each => each.rows)
    const perLayer = Math.floor((numExperts * bytes) / allBytes(rows, numExperts))
    const chosen = policy ?? defaultPolicy(perLayer, numExperts, active)
    const grid = { layers: rows.length, experts: numExperts }
    this.#store?.[Symbol.dispose]()
    const store = new ExpertStore(rows, {
      ...{ bytes, experts: numExperts, files: new ExpertFiles(read), policy: createPolicy(chosen, grid) },
    })
    for (const [i, { experts }] of this.#layers.entries())
      experts.serveFrom(tieredWeights(store, i, experts.stacks))
    this.#store = store
    return store
  }

  [Symbol.dispose](): void {
    this.#store?.[Symbol.dispose]()
    this.model.dispose()
  }
}

/**
 * Loads a decoder whose experts stay in its files until they are needed, within a budget. What it writes does not depend on
 * the budget.
 *
 * @throws ConfigError for a budget below what works, and for models without experts that can be read one by one
 */
export function loadTiered(
  source: ModelSource,
  { memory, context, ...settings }: Budget & StoreSettings,
): { tiered: TieredModel; plan: BudgetPlan } {
  const tiered = new TieredModel(source)
  try {
    const plan = tiered.plan({ memory, context })
    tiered.keepExperts(plan.experts, settings)
    return { tiered, plan }
  } catch (error) {
    tiered[Symbol.dispose]()
    throw error
  }
}

interface TieredLayer {
  layer: MoeLayer
  experts: StackedExperts
  rows: LayerRows
}

/** The layers whose experts are still in files, in order. */
function tieredLayers(model: Module, rows: ReadonlyMap<string, ExpertRows>): TieredLayer[] {
  const paths = new Map([...model.namedParameters()].map(([path, parameter]) => [parameter, path]))
  const rowsOf = (parameter: Parameter): ExpertRows | undefined => rows.get(paths.get(parameter) ?? '')
  return [...model.namedModules()].flatMap(([, layer]) => {
    if (!(layer instanceof MoeLayer) || !(layer.experts instanceof StackedExperts)) return []
    const { experts } = layer
    const [up, down] = [rowsOf(experts.stacks.up), rowsOf(experts.stacks.down)]
    return up && down ? [{ layer, experts, rows: { up, down } }] : []
  })
}
