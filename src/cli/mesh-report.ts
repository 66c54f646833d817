// `inspect --plan`: what training on a mesh takes of each rank, and what a step costs.

import type { Command } from 'commander'
import { ConfigError } from '../errors.ts'
import type { ModelConfig } from '../models/index.ts'
import type { MeshSizes } from '../parallel/mesh.ts'
import type { Cluster, MeshPlan, PlanSettings, RankMemory, StagePlan } from '../parallel/plan/index.ts'
import { bold, count, shortBytes, shortCount, table } from './terminal.ts'
import { numberOf, oneOf, wholeNumberOf } from './values.ts'

export interface MeshFlags {
  plan?: boolean
  mesh?: string
  cluster?: string
  batch?: number
  microBatch?: number
  zero?: '1' | '3'
  recompute?: 'none' | 'layers'
  overlap?: number
}

export function withMeshOptions(command: Command): Command {
  return command
    .option('--plan', 'what training it on many ranks takes: with --mesh, --cluster or both')
    .option('--mesh <sizes>', 'with --plan, ranks along each axis, as expert=4,data=2')
    .option('--cluster <ranks>', 'with --plan, hardware, as h100:8x16: 16 nodes of 8 (default: no times)')
    .option(
      '--batch <sequences>',
      'with --plan, sequences of a step (default: 256)',
      wholeNumberOf('--batch', 1),
    )
    .option(
      '--micro-batch <sequences>',
      'with --plan, sequences that a rank computes at once (default: 1)',
      wholeNumberOf('--micro-batch', 1),
    )
    .option(
      '--zero <stage>',
      'with --plan, what shards divide, 1 or 3 (default: 1)',
      oneOf('--zero', ['1', '3']),
    )
    .option(
      '--recompute <what>',
      'with --plan, none or layers (default: none)',
      oneOf('--recompute', ['none', 'layers']),
    )
    .option(
      '--overlap <share>',
      'with --plan, of exchanges, what products hide, 0 to 1 (default: 0)',
      numberOf('--overlap', { least: 0, most: 1 }),
    )
}

/** @throws ConfigError for flags of a plan without one */
export function refuseWithoutPlan({ plan, ...flags }: MeshFlags): void {
  const given = {
    ...{ '--mesh': flags.mesh, '--cluster': flags.cluster, '--batch': flags.batch, '--zero': flags.zero },
    ...{ '--micro-batch': flags.microBatch, '--recompute': flags.recompute, '--overlap': flags.overlap },
  }
  const [lone] = Object.entries(given).flatMap(([path, value]) => (value === undefined ? [] : path))
  if (!plan && lone !== undefined) throw new ConfigError('is of a plan: give --plan too', { path: lone })
  if (plan && flags.mesh === undefined && flags.cluster === undefined)
    throw new ConfigError('needs --mesh, --cluster or both', { path: '--plan' })
}

/** Plans, the chosen one first: that of --mesh alone, or the fastest ones that fit a cluster. */
export async function meshPlans(
  config: ModelConfig,
  flags: MeshFlags,
  { dtype, sequenceLength }: Pick<PlanSettings, 'dtype' | 'sequenceLength'>,
): Promise<{ plans: MeshPlan[]; cluster: Cluster | null }> {
  const planner = await import('../parallel/plan/index.ts')
  const { parseMesh } = await import('../parallel/mesh.ts')
  const settings: PlanSettings = {
    ...planner.defaultSettings,
    ...{ dtype, sequenceLength },
    ...(flags.batch !== undefined && { batch: flags.batch }),
    ...(flags.microBatch !== undefined && { microBatch: flags.microBatch }),
    ...(flags.zero !== undefined && { zero: flags.zero === '3' ? 3 : 1 }),
    ...(flags.recompute !== undefined && { recompute: flags.recompute }),
    ...(flags.overlap !== undefined && { overlap: flags.overlap }),
  }
  return asFlags(() => {
    const cluster = flags.cluster === undefined ? null : planner.parseCluster(flags.cluster)
    if (flags.mesh !== undefined) {
      const sizes = parseMesh(flags.mesh)
      planner.checkMesh(config, sizes)
      planner.checkBatch(sizes, settings)
      if (cluster) planner.checkCluster(sizes, cluster)
      return { cluster, plans: [planner.planMesh(config, sizes, { ...settings, cluster })] }
    }
    const plans = cluster ? planner.suggestMesh(config, cluster, settings) : []
    if (plans.length === 0)
      throw new ConfigError(
        `no mesh of ${flags.cluster} divides the model and a batch of ${settings.batch} and fits in memory: take more nodes, ` +
          'another --batch, --zero 3 or --recompute layers',
        { path: 'cluster' },
      )
    return { cluster, plans }
  })
}

/** The planner names settings, the command line flags. */
function asFlags<T>(plan: () => T): T {
  try {
    return plan()
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    const [, name = '', axis = ''] = /^(mesh|cluster|batch)(\.\w+)?$/.exec(error.path) ?? []
    if (name === '') throw error
    const place = axis === '' ? '' : `${axis.slice(1)}: `
    throw new ConfigError(`${place}${error.problem}`, { path: `--${name}`, cause: error })
  }
}

export function formatPlans(
  { plans, cluster }: { plans: readonly MeshPlan[]; cluster: Cluster | null },
  describeMesh: (sizes: MeshSizes) => string,
): string {
  const [best, ...others] = plans as [MeshPlan, ...MeshPlan[]]
  const { settings } = best
  const heading = `${describeMesh(best.sizes)}: ${count(settings.batch)} sequences of ${count(settings.sequenceLength)} tokens, ${best.microBatches} micro-batches of ${settings.microBatch}, ${settings.dtype}, zero ${settings.zero}`
  const parts = [bold(heading), memoryTable(best), exchangeTable(best)]
  if (cluster) parts.push(timeLines(best, cluster))
  if (others.length > 0)
    parts.push(
      table([
        ['other meshes', 'memory of a rank', 'step', 'tokens/s'],
        ...others
          .slice(0, 5)
          .map(plan => [
            describeMesh(plan.sizes),
            shortBytes(plan.largest),
            seconds(plan.time?.total ?? 0),
            rate(plan),
          ]),
      ]),
    )
  return parts.join('\n\n')
}

function memoryTable({ stages, sizes, largest }: MeshPlan): string {
  const names = Object.keys(stages[0]?.memory ?? {}) as (keyof RankMemory)[]
  const rows = mergeEqual(stages).map(({ first, last, stage }) => {
    const all = names.reduce((sum, name) => sum + stage.memory[name], 0)
    const ranks = first === last ? `stage ${first}` : `stages ${first}-${last}`
    return [
      sizes.pipeline === 1 ? 'each rank' : `ranks of ${ranks}`,
      ...names.map(name => shortBytes(stage.memory[name])),
      `${shortBytes(all)}${all === largest && stages.length > 1 ? ' (most)' : ''}`,
    ]
  })
  return table([['memory', ...names, 'total'], ...rows])
}

/** Stages that follow each other and take the same, in one row. */
function mergeEqual(stages: readonly StagePlan[]): { first: number; last: number; stage: StagePlan }[] {
  const rows: { first: number; last: number; stage: StagePlan }[] = []
  for (const [i, stage] of stages.entries()) {
    const last = rows.at(-1)
    if (last && JSON.stringify(last.stage.memory) === JSON.stringify(stage.memory)) last.last = i
    else rows.push({ first: i, last: i, stage })
  }
  return rows
}

/** Of the stage that sends most. */
function exchangeTable({ stages }: MeshPlan): string {
  const sent = ({ exchanges }: StagePlan): number =>
    exchanges.reduce(
      (sum, { calls, traffic }) => sum + calls * (traffic.intra.bytes + traffic.inter.bytes),
      0,
    )
  const { exchanges } = stages.reduce((a, b) => (sent(b) > sent(a) ? b : a))
  if (exchanges.length === 0) return 'no exchanges: each rank is alone'
  const rows = exchanges.map(({ what, collective, axes, group, calls, traffic }) => [
    what,
    `${collective} along ${axes.join(' and ')}`,
    count(group.ranks),
    count(calls),
    shortBytes(calls * traffic.intra.bytes),
    shortBytes(calls * traffic.inter.bytes),
    count(calls * (traffic.intra.messages + traffic.inter.messages)),
  ])
  return table([
    ['a rank sends in a step', '', 'ranks', 'times', 'within nodes', 'between nodes', 'messages'],
    ...rows,
  ])
}

function timeLines(
  { time, stages, tokensPerSecond, largest }: MeshPlan,
  { name, ranks, hardware }: Cluster,
): string {
  if (!time) return ''
  const flops = stages.reduce((sum, stage) => sum + stage.flops, 0) / stages.length / time.total
  const rows = [
    ['products', seconds(time.compute), `at ${Math.round(hardware.share * 100)}% of what ${name} states`],
    ['exchanges', seconds(time.exchange), ''],
    ['bubble', seconds(time.bubble), `${((100 * time.bubble) / time.total).toFixed(1)}% of the step`],
    [
      'step',
      seconds(time.total),
      `${shortCount(tokensPerSecond ?? 0)} tokens/s on ${count(ranks)} ranks, ${shortCount(flops / 1e12)} TFLOP/s each`,
    ],
  ]
  const fits =
    largest <= hardware.memory
      ? ''
      : `\ndoes not fit: ${shortBytes(largest)} of the ${shortBytes(hardware.memory)} that a rank has`
  return `${table([['a step', '', ''], ...rows])}${fits}`
}

const rate = ({ tokensPerSecond }: MeshPlan): string => shortCount(tokensPerSecond ?? 0)
const seconds = (value: number): string =>
  value < 1 ? `${(1000 * value).toPrecision(3)} ms` : `${value.toPrecision(3)} s`
