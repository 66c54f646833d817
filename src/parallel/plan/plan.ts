// What training on a mesh takes of each rank, and how long a step is.
// Shapes: p stages, m micro-batches.

import type { ModelConfig } from '../../models/index.ts'
import type { MeshSizes } from '../mesh.ts'
import { trafficSeconds } from './collectives.ts'
import { type Exchange, exchangesOf } from './communication.ts'
import type { Cluster, Hardware } from './hardware.ts'
import { microBatches, microTokens, type RankMemory, rankBytes, stageMemory } from './memory.ts'
import {
  elements,
  layerFlops,
  type ModelParts,
  modelParts,
  type StagePart,
  stagePart,
} from './model-parts.ts'
import { defaultSettings, type PlanSettings } from './settings.ts'

/** Of the ranks of one stage, which are alike. */
export interface StagePlan {
  memory: RankMemory
  exchanges: Exchange[]
  /** FLOPs of a rank in a step, forward and backward. */
  flops: number
}

/** Seconds of a step. */
export interface StepTime {
  compute: number
  /** Exchanges that no product hides. */
  exchange: number
  /** Stages waiting for the first micro-batch to come and the last to go. */
  bubble: number
  total: number
}

export interface MeshPlan {
  sizes: MeshSizes
  settings: PlanSettings
  microBatches: number
  stages: StagePlan[]
  /** Bytes of the rank that takes most. */
  largest: number
  /** Null where no cluster is known. */
  time: StepTime | null
  /** Of all ranks together; null where no cluster is known. */
  tokensPerSecond: number | null
}

export interface PlanOptions extends Partial<PlanSettings> {
  /** Default: none, which leaves time out and takes all ranks as one node. */
  cluster?: Cluster | null
}

/**
 * The plan of a mesh, whether it fits or not: see checkMesh() for what it must divide. Layers that stages cannot have equally many of
 * are dealt out as stageLayers() says.
 */
export function planMesh(config: ModelConfig, sizes: MeshSizes, options: PlanOptions = {}): MeshPlan {
  const { cluster = null, ...given } = options
  const settings = { ...defaultSettings, ...given }
  return planParts(modelParts(config, settings.sequenceLength), sizes, settings, cluster)
}

/** As planMesh(), of a model that many meshes are tried for. */
export function planParts(
  parts: ModelParts,
  sizes: MeshSizes,
  settings: PlanSettings,
  cluster: Cluster | null,
): MeshPlan {
  const perNode = cluster?.hardware.perNode ?? Number.POSITIVE_INFINITY
  const m = microBatches(sizes, settings)
  const stages = Array.from(
    { length: sizes.pipeline },
    (_, stage): StagePlan => ({
      memory: stageMemory(parts, sizes, settings, stage),
      exchanges: exchangesOf(parts, sizes, settings, { stage, perNode }),
      flops: m * microTokens(settings) * tokenFlops(stagePart(parts, stage, sizes.pipeline), sizes, settings),
    }),
  )
  const time = cluster && stepTime(stages, m, settings, cluster.hardware)
  return {
    ...{ sizes, settings, stages, time, microBatches: m },
    largest: Math.max(...stages.map(({ memory }) => rankBytes(memory))),
    tokensPerSecond: time && (settings.batch * settings.sequenceLength) / time.total,
  }
}

/** Forward, twice that in backward, and forward of layers once more where they are computed again. */
function tokenFlops({ layers, head }: StagePart, sizes: MeshSizes, settings: PlanSettings): number {
  const ofLayers = layers.reduce((sum, layer) => sum + layerFlops(layer, sizes, settings.imbalance), 0)
  return (settings.recompute === 'layers' ? 4 : 3) * ofLayers + 3 * 2 * elements(head)
}

/**
 * `(m + p - 1) / m` times what the slowest stage needs for its m micro-batches: of a step the share `(p-1) / (m + p - 1)` is the
 * pipeline's bubble (arXiv:2104.04473, section 2.2.1, whose ratio is to the ideal time). Then what is exchanged once.
 */
export function stepTime(
  stages: readonly StagePlan[],
  m: number,
  { dtype, overlap }: PlanSettings,
  hardware: Hardware,
): StepTime {
  const rate = hardware.flops[dtype] * hardware.share
  const seconds = (exchanges: readonly Exchange[]): number =>
    exchanges.reduce((sum, { traffic, calls }) => sum + calls * trafficSeconds(traffic, hardware), 0)
  const each = stages.map(({ flops, exchanges }) => {
    const once = seconds(exchanges.filter(({ calls }) => calls === 1))
    const repeated = seconds(exchanges.filter(({ calls }) => calls > 1))
    return { compute: flops / rate, once: once * (1 - overlap), repeated: repeated * (1 - overlap) }
  })
  const slowest = each.reduce((a, b) => (b.compute + b.repeated > a.compute + a.repeated ? b : a))
  const once = Math.max(...each.map(stage => stage.once))
  const busy = slowest.compute + slowest.repeated
  const bubble = (busy * (stages.length - 1)) / m
  return { compute: slowest.compute, exchange: slowest.repeated + once, bubble, total: busy + bubble + once }
}
