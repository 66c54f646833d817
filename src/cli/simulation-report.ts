// A simulation of caches as tables and a plot.

import type { CapacityResult, PoolKind, SimulatedPolicy, Simulation, TraceHeader } from '../engine/index.ts'
import { plot } from './plot.ts'
import { bold, count, shortBytes, table, wrapList, wrappedTable } from './terminal.ts'

/** What each curve of the plot is drawn with, from the uppermost. */
const marks: Record<SimulatedPolicy, string> = {
  belady: 'B',
  lfru: 'x',
  lru: 'r',
  'activation-aware': 'a',
  'least-stale': 's',
  lfu: 'f',
  static: 't',
  random: '?',
}

/** Hit rates, what is read, reading ahead, and the curves. */
export function simulationReport(
  header: TraceHeader,
  pools: PoolKind,
  simulation: Simulation,
  width: number,
): string {
  const parts = [
    title(header, pools, simulation),
    `${bold('needed experts that were resident, in %')}\n\n${hitTable(simulation, width)}`,
  ]
  if (header.expertBytes !== null)
    parts.push(`${bold('read per token')}\n\n${readTable(simulation, header.expertBytes, width)}`)
  const ahead = prefetchTable(simulation)
  if (ahead) parts.push(`${bold('reading ahead for the next layers, experts per token')}\n\n${ahead}`)
  parts.push(`${bold('hits (up) by share of the experts that fit (right)')}\n\n${curves(simulation, width)}`)
  return parts.join('\n\n')
}

function title(
  { model, moeLayers, topK }: TraceHeader,
  pools: PoolKind,
  { tokens, poolExperts }: Simulation,
): string {
  const places = pools === 'layer' ? `each layer has places of its own` : `all layers share their places`
  const layers = `${moeLayers.length} layers, ${poolExperts} experts in each pool, ${topK} chosen`
  return `${model}: ${count(tokens)} tokens, ${layers}; ${places}`
}

const percent = (share: number): string => (100 * share).toFixed(1)

/** The policies that were replayed. */
const policiesOf = ({ capacities: [first] }: Simulation): SimulatedPolicy[] =>
  Object.keys(first?.hitRates ?? {}) as SimulatedPolicy[]

/** A column for each capacity. */
function byCapacity(simulation: Simulation, width: number, cell: (hitRate: number) => string): string {
  const { capacities, poolExperts } = simulation
  const row = (name: string, rate: (result: CapacityResult) => number): string[] => [
    name,
    ...capacities.map(result => cell(rate(result))),
  ]
  const rows = policiesOf(simulation).map(name => row(name, ({ hitRates }) => hitRates[name] ?? 0))
  const heading = ['policy', ...capacities.map(({ capacity }) => `${capacity} of ${poolExperts}`)]
  return wrappedTable([heading, row('uniform', ({ uniform }) => uniform), ...rows], width)
}

const hitTable = (simulation: Simulation, width: number): string => byCapacity(simulation, width, percent)

function readTable(simulation: Simulation, expertBytes: number, width: number): string {
  const { usesPerToken } = simulation
  return byCapacity(simulation, width, rate =>
    shortBytes(Math.round((1 - rate) * usesPerToken * expertBytes)),
  )
}

/** Null where nothing was read ahead. */
function prefetchTable({ capacities, poolExperts }: Simulation): string | null {
  const rows = capacities.flatMap(({ capacity, suggested: { policy, hitRate, misses, prefetch } }) => {
    if (prefetch === null) return []
    const { useful, wasted } = prefetch
    const [alone, ahead] = [{ hitRate, misses }, prefetch].map(outcome => [
      percent(outcome.hitRate),
      outcome.misses.toFixed(2),
    ]) as [[string, string], [string, string]]
    const guesses = [useful.toFixed(2), wasted.toFixed(2)]
    return [[`${capacity} of ${poolExperts}`, policy, ...alone, ahead[0], ...guesses, ahead[1]]]
  })
  if (rows.length === 0) return null
  return table([['fit', 'policy', 'hits %', 'missed', 'ahead %', 'useful', 'wasted', 'missed'], ...rows])
}

function curves(simulation: Simulation, width: number): string {
  const { capacities } = simulation
  const replayed = policiesOf(simulation)
  const policies = (Object.keys(marks) as SimulatedPolicy[]).filter(name => replayed.includes(name))
  const sorted = [...capacities].sort((a, b) => a.uniform - b.uniform)
  const lines = policies.map(name => ({
    mark: marks[name],
    points: sorted.map(({ uniform, hitRates }) => [uniform, hitRates[name] ?? 0] as const),
  }))
  const uniform = { mark: '.', points: [[0, 0] as const, [1, 1] as const] }
  const legend = [...policies.map(name => `${marks[name]} ${name}`), '. uniform']
  return `${plot([...lines, uniform], width, 21)}\n\n${wrapList(legend, 0, width)}`
}
