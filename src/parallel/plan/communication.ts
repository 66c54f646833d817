// What the ranks of a stage exchange in a step.
// Shapes: T tokens of a micro-batch, K choices per token, D model, m micro-batches.

import type { Declarations } from '../../models/index.ts'
import { type MeshAxis, type MeshSizes, meshAxes } from '../mesh.ts'
import { type Collective, type Group, type Traffic, trafficOf } from './collectives.ts'
import { bytesOf, microBatches, microTokens } from './memory.ts'
import { elements, localShapes, type ModelParts, stagePart } from './model-parts.ts'
import type { PlanSettings } from './settings.ts'

/** Equal collectives of a step. */
export interface Exchange {
  what: string
  collective: Collective
  axes: readonly MeshAxis[]
  group: Group
  /** Bytes that a rank brings, or has afterwards: see {@link trafficOf}. */
  bytes: number
  /** How often in a step. */
  calls: number
  /** What a rank sends in one call. */
  traffic: Traffic
}

/**
 * All that a rank of a stage exchanges in one step; what takes part with itself alone is left out.
 *
 * - rows `T K D` to experts and back, and their gradients: four times a layer and micro-batch, six where layers are computed again
 * - sums `T D` along `tensor` behind attention and experts, as often in backward
 * - hidden states `T D` to the next stage, and their gradients back
 * - gradients once a step: of experts along data and shard, of all else along expert too; what is divided along `shard` is
 *   reduced and scattered there, and updated parameters gathered (ZeRO, arXiv:1910.02054, section 5), with zero 3 before each use
 *
 * @param perNode ranks of a node
 */
export function exchangesOf(
  parts: ModelParts,
  sizes: MeshSizes,
  settings: PlanSettings,
  { stage, perNode }: { stage: number; perNode: number },
): Exchange[] {
  const { layers, outside } = stagePart(parts, stage, sizes.pipeline)
  const size = bytesOf(settings)
  const m = microBatches(sizes, settings)
  const hidden = microTokens(settings) * parts.config.hidden_size * size
  const again = settings.recompute === 'layers' ? 1 : 0
  const exchange = (
    what: string,
    collective: Collective,
    axes: readonly MeshAxis[],
    bytes: number,
    calls: number,
  ) => {
    const group = groupAlong(sizes, axes, perNode)
    return { what, collective, axes, group, bytes, calls, traffic: trafficOf(collective, bytes, group) }
  }
  const sparse = layers.filter(({ choices }) => choices > 0)
  const choices = sparse[0]?.choices ?? 0
  const sums = layers.length + layers.filter(({ declarations }) => stacksOf(declarations).size > 0).length
  const all = [
    exchange(
      'rows to experts and back',
      'all-to-all',
      ['expert'],
      choices * hidden,
      m * sparse.length * (4 + 2 * again),
    ),
    exchange('sums of heads and widths', 'all-reduce', ['tensor'], hidden, m * sums * (2 + again)),
    exchange('hidden states to the next stage', 'send', ['pipeline'], hidden, 2 * m),
    ...gradientExchanges(
      layers.map(({ declarations }) => declarations),
      outside,
      { sizes, settings, exchange, m },
    ),
  ]
  return all.filter(({ group, bytes, calls }) => group.ranks > 1 && bytes > 0 && calls > 0)
}

interface GradientContext {
  sizes: MeshSizes
  settings: PlanSettings
  m: number
  exchange(
    what: string,
    collective: Collective,
    axes: readonly MeshAxis[],
    bytes: number,
    calls: number,
  ): Exchange
}

function gradientExchanges(
  layers: readonly Declarations[],
  outside: Declarations,
  { sizes, settings, m, exchange }: GradientContext,
): Exchange[] {
  const bytes = (of: (declarations: Declarations) => Declarations): number =>
    [...layers, outside].reduce((total, each) => total + elements(localShapes(of(each), sizes)), 0) *
    bytesOf(settings)
  const experts = bytes(stacksOf)
  const others = bytes(besideStacks)
  const ofStep = sizes.shard // after shards have reduced theirs, each rank sums a part over the other axes
  const gathers = settings.zero === 3 ? m * 2 : 1 // before forward and backward of each micro-batch
  const scatters = settings.zero === 3 ? m : 1
  const both = experts + others
  return [
    exchange('gradients to their shards', 'reduce-scatter', ['shard'], both, scatters),
    exchange('gradients of experts', 'all-reduce', ['data'], experts / ofStep, 1),
    exchange('gradients of all else', 'all-reduce', ['expert', 'data'], others / ofStep, 1),
    exchange('parameters of shards', 'all-gather', ['shard'], both, gathers),
  ]
}

const stacksOf = (declarations: Declarations): Declarations =>
  new Map([...declarations].filter(([, { stacked }]) => stacked))

const besideStacks = (declarations: Declarations): Declarations =>
  new Map([...declarations].filter(([, { stacked }]) => !stacked))

/** The group along some axes that the first rank is in, and how many of it share its node. */
export function groupAlong(sizes: MeshSizes, axes: readonly MeshAxis[], perNode: number): Group {
  let stride = 1
  let ranks = [0]
  for (const axis of meshAxes) {
    const step = stride
    if (axes.includes(axis))
      ranks = Array.from({ length: sizes[axis] }, (_, i) => ranks.map(rank => rank + i * step)).flat()
    stride *= sizes[axis]
  }
  return { ranks: ranks.length, perNode: ranks.filter(rank => rank < perNode).length }
}
