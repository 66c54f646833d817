// Series of metrics that follow from what an engine says of itself.

import { Counter, Gauge, type Registry } from 'prom-client'
import type { EngineStatus, LayerLoad, StoreStatus } from '../engine/index.ts'

interface Series {
  /** A counter where it ends in _total. */
  name: string
  help: string
  /** Null: there is none here. */
  value: (status: EngineStatus) => number | null
}

type StoreNumber = Exclude<keyof StoreStatus, 'layers' | 'device'>
type DeviceNumber = keyof NonNullable<StoreStatus['device']>

/** What a store of experts counts, by field. */
const ofStore: readonly (readonly [name: string, help: string, field: StoreNumber])[] = [
  ['switchyard_experts_resident', 'Experts that fit in memory.', 'resident'],
  ['switchyard_experts_resident_bytes', 'Bytes of the places of experts.', 'residentBytes'],
  ['switchyard_expert_uses_total', 'Experts that layers needed.', 'uses'],
  ['switchyard_expert_hits_total', 'Of them, those in memory.', 'hits'],
  ['switchyard_expert_read_bytes_total', 'Bytes of experts read.', 'bytes'],
  ['switchyard_expert_copied_total', 'Uses that a copy of fewer bits stood in for.', 'copied'],
  ['switchyard_expert_replaced_total', 'Choices that gave way to experts in memory.', 'replaced'],
  ['switchyard_expert_ahead_useful_bytes_total', 'Bytes read ahead that were used in time.', 'useful'],
  ['switchyard_expert_ahead_wasted_bytes_total', 'Bytes read ahead that were not.', 'wasted'],
]

/** And of those on a device that computes, which asks the store for what it misses. */
const ofDevice: readonly (readonly [name: string, help: string, field: DeviceNumber])[] = [
  ['switchyard_device_experts_resident', 'Experts that fit on the device.', 'resident'],
  ['switchyard_device_experts_resident_bytes', 'Bytes of the places of experts there.', 'residentBytes'],
  ['switchyard_device_expert_uses_total', 'Experts that layers needed there.', 'uses'],
  ['switchyard_device_expert_hits_total', 'Of them, those that were there.', 'hits'],
  ['switchyard_device_expert_sent_bytes_total', 'Bytes of experts sent to the device.', 'bytes'],
]

const series: readonly Series[] = [
  { name: 'vllm:num_requests_running', help: 'Texts that have a place.', value: status => status.running },
  { name: 'vllm:num_requests_waiting', help: 'Texts that wait for one.', value: status => status.waiting },
  {
    name: 'vllm:kv_cache_usage_perc',
    help: 'Share of the cache that texts have, 1 is all.',
    value: status => status.cacheUse,
  },
  {
    name: 'vllm:num_preemptions_total',
    help: 'Texts that were put aside, so that others had room.',
    value: status => status.preemptions,
  },
  { name: 'vllm:prompt_tokens_total', help: 'Tokens of prompts.', value: status => status.promptTokens },
  { name: 'vllm:generation_tokens_total', help: 'Tokens written.', value: status => status.newTokens },
  {
    name: 'vllm:prefix_cache_queries_total',
    help: 'Tokens looked up in the cache.',
    value: status => status.promptTokens,
  },
  {
    name: 'vllm:prefix_cache_hits_total',
    help: 'Of them, those that were there.',
    value: status => status.cachedTokens,
  },
  { name: 'switchyard_steps_total', help: 'Passes of the model.', value: status => status.steps },
  {
    name: 'switchyard_engine_restarts_total',
    help: 'Engines that died and were replaced.',
    value: status => status.restarts,
  },
  {
    name: 'switchyard_memory_bytes',
    help: 'Resident memory of the process.',
    value: status => status.memory,
  },
  {
    name: 'switchyard_expert_misses_total',
    help: 'Experts that were read when layers needed them.',
    value: ({ experts }) => experts && experts.uses - experts.hits,
  },
  ...ofStore.map(([name, help, field]) => ({
    ...{ name, help, value: ({ experts }: EngineStatus) => experts?.[field] ?? null },
  })),
  ...ofDevice.map(([name, help, field]) => ({
    ...{ name, help, value: ({ experts }: EngineStatus) => experts?.device?.[field] ?? null },
  })),
]

interface LayerSeries {
  name: string
  help: string
  value: (layer: LayerLoad) => number
}

/** One series per layer, not per expert: their number is bounded by the model's depth. */
const layerSeries: readonly LayerSeries[] = [
  {
    name: 'switchyard_expert_load_max_over_mean',
    help: 'Heaviest load of a layer over its mean, over prompts.',
    value: layer => layer.maxOverMean,
  },
  {
    name: 'switchyard_experts_unused',
    help: 'Experts of a layer that no prompt has used.',
    value: layer => layer.dead,
  },
  {
    name: 'switchyard_experts_effective',
    help: 'Equally loaded experts that would spread as wide.',
    value: layer => layer.effectiveExperts,
  },
]

/** Of layers, what the store of experts counts. */
const storeSeries: readonly { name: string; help: string; field: 'uses' | 'hits' }[] = [
  { name: 'switchyard_expert_layer_uses_total', help: 'Experts that a layer needed.', field: 'uses' },
  { name: 'switchyard_expert_layer_hits_total', help: 'Of them, those in memory.', field: 'hits' },
]

/**
 * @param statuses of models by name, as far as they are known
 * @param mostExperts series of single experts, of each model those that served most
 */
export function registerEngineSeries(
  registry: Registry,
  statuses: ReadonlyMap<string, EngineStatus>,
  mostExperts: number,
): void {
  const each = (read: (status: EngineStatus) => Value[]): Value[] =>
    [...statuses].flatMap(([model_name, status]) =>
      read(status).map(({ labels, value }) => ({ labels: { model_name, ...labels }, value })),
    )
  for (const { name, help, value } of series)
    register(registry, { name, help, labels: ['model_name'] }, () =>
      each(status => {
        const one = value(status)
        return one === null ? [] : [{ labels: {}, value: one }]
      }),
    )
  const ofLayer = ['model_name', 'layer']
  for (const { name, help, value } of layerSeries)
    register(registry, { name, help, labels: ofLayer }, () =>
      each(({ load }) => load.map(layer => ({ labels: { layer: `${layer.layer}` }, value: value(layer) }))),
    )
  for (const { name, help, field } of storeSeries)
    register(registry, { name, help, labels: ofLayer }, () =>
      each(({ experts }) =>
        (experts?.layers ?? []).map((layer, i) => ({ labels: { layer: `${i}` }, value: layer[field] })),
      ),
    )
  const name = 'switchyard_expert_served_total'
  const help = 'Slots of prompts that an expert served, of those that served most.'
  if (mostExperts > 0)
    register(registry, { name, help, labels: [...ofLayer, 'expert'] }, () =>
      each(({ load }) => busiest(load, mostExperts)),
    )
}

interface Value {
  labels: Record<string, string>
  value: number
}

function busiest(load: readonly LayerLoad[], most: number): Value[] {
  const all = load.flatMap(({ layer, counts }) =>
    counts.map((value, expert) => ({ labels: { layer: `${layer}`, expert: `${expert}` }, value })),
  )
  return all.toSorted((a, b) => b.value - a.value).slice(0, most)
}

/** Reads its values when it is asked for them. */
function register(
  registry: Registry,
  { name, help, labels }: { name: string; help: string; labels: string[] },
  read: () => Value[],
): void {
  const shared = { name, help, labelNames: labels, registers: [registry] }
  if (!name.endsWith('_total')) {
    new Gauge({
      ...shared,
      collect() {
        this.reset()
        for (const { labels, value } of read()) this.set(labels, value)
      },
    })
    return
  }
  new Counter({
    ...shared,
    collect() {
      this.reset()
      for (const { labels, value } of read()) this.inc(labels, value)
    },
  })
}
