// A model within a budget of memory: everything but experts is loaded, and these come when they are chosen.

import { ConfigError } from '../../errors.ts'
import {
  CausalLM,
  type ExpertRows,
  loadWithoutExperts,
  type ModelSource,
  sizesWithoutExperts,
} from '../../models/index.ts'
import { MoeLayer, StackedExperts } from '../../moe/index.ts'
import type { Module, Parameter } from '../../nn/index.ts'
import { emptyCache, limitCache } from '../../torch/index.ts'
import { createPolicy, defaultPolicy, type PolicyConfig } from '../cache/table.ts'
import { createPrefetcher, type PrefetchConfig } from '../prefetch/table.ts'
import { type Budget, type BudgetPlan, planBudget } from './budget.ts'
import { ExpertFiles, type ReadMode } from './expert-files.ts'
import { ExpertStore } from './expert-store.ts'
import { allBytes, type LayerRows } from './layer-rows.ts'
import type { OnMiss } from './on-miss.ts'
import { chooseAmongResidents } from './resident-choice.ts'
import { RunningModel } from './running-model.ts'
import { tieredWeights } from './tiered-weights.ts'

export interface StoreSettings {
  /** Which experts give up their places. Default: by how many fit; see defaultPolicy(). */
  policy?: PolicyConfig
  /**
   * How experts are read. Default cached: what the system keeps of files beside the budget makes reads quicker, and is given
   * up when others need it.
   */
  read?: ReadMode
  /** What is read before it is needed, where not all experts fit. Default: nothing; see docs/caches.md. */
  prefetch?: PrefetchConfig
  /** What becomes of experts that are not in memory. Default: they are read, and the text is the same. */
  onMiss?: OnMiss
}

/** Bytes that the process keeps for coming tensors while it runs within a budget. */
const keptForTensors = 16e6

/** A decoder whose experts are in its files. Disposing of it frees both. */
export class TieredModel implements Disposable {
  readonly model: CausalLM
  readonly #source: ModelSource
  readonly #layers: readonly TieredLayer[]
  #store: ExpertStore | null = null
  #chooseFreely: () => void = () => undefined
  #limit: Disposable | null = null

  /** @throws ConfigError for models without experts that can be read one by one */
  constructor(source: ModelSource) {
    const { model, experts } = loadWithoutExperts(source)
    this.#source = source
    this.#layers = tieredLayers(model, experts)
    if (!(model instanceof CausalLM) || this.#layers.length === 0) {
      model.dispose()
      refuseWithoutExperts(source)
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

  /** While the model lives the process keeps little for coming tensors, so that a budget holds. */
  limitTensors(): void {
    this.#limit ??= limitCache(keptForTensors)
  }

  /**
   * Makes room for experts: from now on the model runs.
   *
   * @throws ConfigError for reading ahead where nothing is waited for, and for copies that experts cannot have
   */
  keepExperts(bytes: number, settings: StoreSettings = {}): ExpertStore {
    const { policy, read, prefetch = { kind: 'off' }, onMiss = { kind: 'read' } } = settings
    if (onMiss.kind !== 'read' && prefetch.kind !== 'off')
      throw new ConfigError('hides the wait for experts, and nobody waits here: leave it out', {
        path: 'prefetch',
      })
    const layers = this.#layers.map(each => each.layer)
    const [{ gate }] = layers as [MoeLayer]
    const { numExperts: experts, active } = gate
    const rows = this.#layers.map(each => each.rows)
    const perLayer = Math.floor((experts * bytes) / allBytes(rows, experts))
    const chosen = policy ?? defaultPolicy(perLayer, experts, active)
    const grid = { layers: rows.length, experts }
    const running = new RunningModel(this.model, layers)
    const subject = { grid, topK: active, model: running }
    const prefetcher = perLayer < experts ? createPrefetcher(prefetch, subject) : null
    this.#store?.[Symbol.dispose]() // first: there may be no room for both
    this.#store = null
    this.#chooseFreely()
    this.#chooseFreely = () => undefined
    const store = new ExpertStore(rows, {
      ...{
        bytes,
        experts,
        files: new ExpertFiles(read),
        policy: createPolicy(chosen, grid),
        prefetcher,
        onMiss,
      },
    })
    if (onMiss.kind !== 'copy' && store.capacity < store.total)
      this.#chooseFreely = chooseAmongResidents(layers, store)
    for (const [i, layer] of this.#layers.entries())
      layer.experts.serveFrom(running.watched(tieredWeights(store, i, layer.experts.stacks)))
    running.follow(pass => store.beginPass(pass))
    this.#store = store
    return store
  }

  [Symbol.dispose](): void {
    this.#store?.[Symbol.dispose]()
    this.model.dispose()
    this.#limit?.[Symbol.dispose]()
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
  { memory, context, kv, ...settings }: Omit<Budget, 'copies'> & StoreSettings,
): { tiered: TieredModel; plan: BudgetPlan } {
  const tiered = new TieredModel(source)
  try {
    const { onMiss } = settings
    const copies = onMiss?.kind === 'copy' ? onMiss.type : undefined
    const plan = tiered.plan({ memory, context, kv, copies })
    tiered.limitTensors()
    tiered.keepExperts(plan.experts, settings)
    return { tiered, plan }
  } catch (error) {
    tiered[Symbol.dispose]()
    throw error
  }
}

/** How a model would run within a budget, without loading it. */
export interface TieredOutlook {
  plan: BudgetPlan
  /** Experts of all layers. */
  total: number
  /** Of them, those that fit. */
  resident: number
  /** Bytes of experts that one token uses. */
  usedPerToken: number
}

/** What node and libtorch take before a model is loaded, as it was seen. */
const runtimeBytes = 260e6

/** @throws ConfigError as loadTiered() */
export function planTiered(source: ModelSource, budget: Budget): TieredOutlook {
  const { model, experts, bytes } = sizesWithoutExperts(source)
  const layers = tieredLayers(model, experts)
  const rows = layers.map(layer => layer.rows)
  if (!(model instanceof CausalLM) || layers.length === 0) refuseWithoutExperts(source)
  const plan = planBudget(model, source.config, rows, { fixed: runtimeBytes + bytes, budget })
  const total = layers.reduce((sum, { layer }) => sum + layer.gate.numExperts, 0)
  const usedPerToken = layers.reduce(
    (sum, { layer, rows: of }) => sum + layer.gate.active * allBytes([of], 1),
    0,
  )
  return { plan, total, resident: Math.floor((total * plan.experts) / plan.allExperts), usedPerToken }
}

function refuseWithoutExperts(source: ModelSource): never {
  throw new ConfigError('is no decoder with experts that can be read one by one: leave the budget out', {
    path: source.path,
  })
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
