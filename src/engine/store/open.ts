// A model within a budget of memory: everything but experts is loaded, and these come when they are chosen.

import { ConfigError } from '../../errors.ts'
import { CausalLM, loadWithoutExperts, type ModelSource } from '../../models/index.ts'
import type { MoeLayer } from '../../moe/index.ts'
import { availableCudaMemory, type Device, emptyCache, limitCache } from '../../torch/index.ts'
import { createPolicy, defaultPolicy, type PolicyConfig } from '../cache/table.ts'
import { createPrefetcher, type PrefetchConfig } from '../prefetch/table.ts'
import { type Budget, type BudgetPlan, planBudget } from './budget.ts'
import { type DeviceDType, deviceKind } from './device-kind.ts'
import type { DeviceTierOptions } from './device-tier.ts'
import { ExpertFiles, type ReadMode } from './expert-files.ts'
import { ExpertStore } from './expert-store.ts'
import { allBytes, kindOf } from './layer-rows.ts'
import type { OnMiss } from './on-miss.ts'
import { chooseAmongResidents } from './resident-choice.ts'
import { RunningModel } from './running-model.ts'
import { refuseWithoutExperts, type TieredLayer, tieredLayers } from './tiered-layers.ts'
import { deviceWeights, tieredWeights } from './tiered-weights.ts'

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

/** Another memory than the one that experts are read into, where a model computes. */
export interface ComputePlace {
  device: Device
  /** What is computed in. Default: bf16, and f32 on a CPU. */
  dtype?: DeviceDType | undefined
}

/** Bytes that the process keeps for coming tensors while it runs within a budget. */
const keptForTensors = 16e6

/** A decoder whose experts are in its files. Disposing of it frees both. */
export class TieredModel implements Disposable {
  readonly model: CausalLM
  readonly #source: ModelSource
  readonly #place: Required<Pick<DeviceTierOptions, 'device' | 'dtype'>> | null
  readonly #layers: readonly TieredLayer[]
  #store: ExpertStore | null = null
  #chooseFreely: () => void = () => undefined
  #limit: Disposable | null = null

  /**
   * @param place where it computes. Default: in host memory, from weights as the file has them
   * @throws ConfigError for models without experts that can be read one by one
   */
  constructor(source: ModelSource, place: ComputePlace | null = null) {
    this.#place = place && { device: place.device, dtype: dtypeOf(place) }
    const where = this.#place && ({ ...this.#place, weights: 'decoded' } as const)
    const { model, experts } = loadWithoutExperts(source, where ?? {})
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
   * @param deviceBytes that experts may take where the model computes, if that is another memory
   * @throws ConfigError for reading ahead where nothing is waited for, and for copies that experts cannot have
   */
  keepExperts(bytes: number, settings: StoreSettings = {}, deviceBytes = 0): ExpertStore {
    const { policy, read, prefetch = { kind: 'off' }, onMiss = { kind: 'read' } } = settings
    refuseSettings({ prefetch, onMiss }, this.#place !== null)
    const layers = this.#layers.map(each => each.layer)
    const [{ gate }] = layers as [MoeLayer]
    const { numExperts: experts, active } = gate
    const rows = this.#layers.map(each => each.rows)
    const perLayer = Math.floor((experts * bytes) / allBytes(rows.map(kindOf), experts))
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
        device: this.#place && this.#deviceTier(this.#place, deviceBytes, policy),
      },
    })
    if (this.#place === null && onMiss.kind !== 'copy' && store.capacity < store.total)
      this.#chooseFreely = chooseAmongResidents(layers, store)
    for (const [i, layer] of this.#layers.entries())
      layer.experts.serveFrom(
        store.device === null
          ? running.watched(tieredWeights(store, i, layer.experts.stacks))
          : deviceWeights(store.device, i, layer.experts.stacks),
      )
    running.follow(pass => store.beginPass(pass))
    this.#store = store
    return store
  }

  #deviceTier(
    { device, dtype }: Pick<DeviceTierOptions, 'device' | 'dtype'>,
    bytes: number,
    policy: PolicyConfig | undefined,
  ): Omit<DeviceTierOptions, 'experts'> {
    const rows = this.#layers.map(each => each.rows)
    const [{ gate }] = this.#layers.map(each => each.layer) as [MoeLayer]
    const { numExperts: experts, active } = gate
    const all = allBytes(
      rows.map(each => deviceKind(each, dtype)),
      experts,
    )
    const chosen = policy ?? defaultPolicy(Math.floor((experts * bytes) / all), experts, active)
    return { device, dtype, bytes, policy: createPolicy(chosen, { layers: rows.length, experts }) }
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
  { memory, context, kv, device: place, ...settings }: TieredOptions,
): { tiered: TieredModel; plan: BudgetPlan } {
  const device = place && { dtype: dtypeOf(place), memory: place.memory ?? freeOn(place.device) }
  const tiered = new TieredModel(source, place)
  try {
    const { onMiss } = settings
    const copies = onMiss?.kind === 'copy' ? onMiss.type : undefined
    const plan = tiered.plan({ memory, context, kv, copies, device })
    tiered.limitTensors()
    tiered.keepExperts(plan.experts, settings, plan.device?.experts)
    return { tiered, plan }
  } catch (error) {
    tiered[Symbol.dispose]()
    throw error
  }
}

/** How a model is loaded within a budget. */
export interface TieredOptions extends Omit<Budget, 'copies' | 'device'>, StoreSettings {
  /**
   * Where it computes, if not in host memory, and bytes that it may take there. Default: what is free of a CUDA device's memory,
   * but for a tenth.
   */
  device?: (ComputePlace & { memory?: number | undefined }) | undefined
}

const dtypeOf = ({ device, dtype }: ComputePlace): DeviceDType => dtype ?? (device === 'cpu' ? 'f32' : 'bf16')

function freeOn(device: Device): number {
  if (device !== 'cpu') return 0.9 * availableCudaMemory(device)
  throw new ConfigError('says nothing of how much memory is meant: give its bytes', { path: 'deviceMemory' })
}

/** @throws ConfigError for what does not go together */
function refuseSettings(
  { prefetch, onMiss }: Required<Pick<StoreSettings, 'prefetch' | 'onMiss'>>,
  isElsewhere: boolean,
): void {
  if (onMiss.kind !== 'read' && prefetch.kind !== 'off')
    throw new ConfigError('hides the wait for experts, and nobody waits here: leave it out', {
      path: 'prefetch',
    })
  const [path] = Object.entries({
    prefetch: prefetch.kind !== 'off',
    onMiss: onMiss.kind !== 'read',
  }).flatMap(([name, isSet]) => (isSet ? name : []))
  if (isElsewhere && path !== undefined)
    throw new ConfigError('is for models that compute where experts are read: leave it out', { path })
}
