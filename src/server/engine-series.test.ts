import { Registry } from 'prom-client'
import { expect, test } from 'vitest'
import type { EngineStatus } from '../engine/index.ts'
import { registerEngineSeries } from './engine-series.ts'

const idle = { running: 0, waiting: 0, cacheUse: 0, promptTokens: 0, cachedTokens: 0, newTokens: 0 }
const plain: EngineStatus = {
  ...{ ...idle, steps: 3, preemptions: 0, memory: 1e9, experts: null, restarts: 0 },
  load: [
    { layer: 1, maxOverMean: 2, dead: 1, effectiveExperts: 1.5, counts: [8, 0, 2] },
    { layer: 2, maxOverMean: 1, dead: 0, effectiveExperts: 3, counts: [3, 4, 3] },
  ],
}
const stored: EngineStatus = {
  ...plain,
  experts: {
    ...{ resident: 3, total: 6, residentBytes: 300, uses: 20, hits: 15, bytes: 500, useful: 40, wasted: 10 },
    ...{ copied: 1, replaced: 2, layers: [12, 8].map((uses, i) => ({ uses, hits: uses - i - 2 })) },
    device: { resident: 2, residentBytes: 200, uses: 50, hits: 30, bytes: 700 },
  },
}

async function valuesOf(statuses: Map<string, EngineStatus>, mostExperts = 0): Promise<Map<string, number>> {
  const registry = new Registry()
  registerEngineSeries(registry, statuses, mostExperts)
  const text = await registry.metrics()
  return new Map(
    [...text.matchAll(/^(\w[^ ]*) (\S+)$/gm)].map(([, name = '', value]) => [name, Number(value)]),
  )
}

test('each model has its own, and what it does not have is not there', async () => {
  const values = await valuesOf(
    new Map([
      ['plain', plain],
      ['stored', stored],
    ]),
  )
  expect(values.get('switchyard_steps_total{model_name="plain"}')).toBe(3)
  expect(values.get('switchyard_expert_misses_total{model_name="stored"}')).toBe(5)
  expect(values.get('switchyard_expert_layer_uses_total{model_name="stored",layer="1"}')).toBe(8)
  expect(values.get('switchyard_expert_layer_hits_total{model_name="stored",layer="1"}')).toBe(5)
  expect(values.get('switchyard_device_expert_hits_total{model_name="stored"}')).toBe(30)
  expect(values.get('switchyard_device_expert_sent_bytes_total{model_name="stored"}')).toBe(700)
  expect(values.get('switchyard_experts_effective{model_name="plain",layer="1"}')).toBe(1.5)
  const ofStore = [...values.keys()].filter(name => /switchyard_.*(resident|hits|copied|ahead)/.test(name))
  expect(ofStore.filter(name => name.includes('"plain"'))).toEqual([])
})

test('a model that is not loaded any more has none', async () => {
  const registry = new Registry()
  const statuses = new Map([['plain', plain]])
  registerEngineSeries(registry, statuses, 0)
  expect(await registry.metrics()).toContain('switchyard_memory_bytes{model_name="plain"}')
  statuses.delete('plain')
  expect(await registry.metrics()).not.toContain('plain')
})

test('of single experts there are those that served most, and no more than were asked for', async () => {
  const singles = async (most: number): Promise<[string, number][]> =>
    [...(await valuesOf(new Map([['plain', plain]]), most))].filter(([name]) => name.includes('expert='))
  expect(await singles(0)).toEqual([])
  expect(await singles(2)).toEqual([
    ['switchyard_expert_served_total{model_name="plain",layer="1",expert="0"}', 8],
    ['switchyard_expert_served_total{model_name="plain",layer="2",expert="1"}', 4],
  ])
  expect((await singles(100)).length).toBe(6)
})
