// Meshes of a cluster for a model, the fastest first.

import type { ModelConfig } from '../../models/index.ts'
import { type MeshSizes, meshSizes } from '../mesh.ts'
import { divisors, meshProblem } from './check.ts'
import type { Cluster } from './hardware.ts'
import { modelParts } from './model-parts.ts'
import { type MeshPlan, planParts } from './plan.ts'
import { defaultSettings, type PlanSettings } from './settings.ts'

/** Of memory, what is left to the runtime and to fragments. */
const usable = 0.9

/**
 * All meshes that use each rank of a cluster, divide the model and its batch, and fit in memory, by predicted time of a step. Ranks
 * along `shard` and `data` differ in memory and in what they exchange alone.
 *
 * @returns nothing where none fits
 */
export function suggestMesh(
  config: ModelConfig,
  cluster: Cluster,
  given: Partial<PlanSettings> = {},
): MeshPlan[] {
  const settings = { ...defaultSettings, ...given }
  const parts = modelParts(config, settings.sequenceLength)
  return meshesOf(cluster.ranks)
    .filter(sizes => sharesBatch(sizes, settings) && meshProblem(parts, sizes) === null)
    .map(sizes => planParts(parts, sizes, settings, cluster))
    .filter(({ largest }) => largest <= usable * cluster.hardware.memory)
    .toSorted((a, b) => (a.time?.total ?? 0) - (b.time?.total ?? 0))
}

const sharesBatch = ({ data, shard, expert }: MeshSizes, { batch, microBatch }: PlanSettings): boolean =>
  batch % (data * shard * expert * microBatch) === 0

/** All ways to write the number of ranks as a product over the axes. */
export function meshesOf(ranks: number): MeshSizes[] {
  return divisors(ranks).flatMap(tensor =>
    divisors(ranks / tensor).flatMap(expert =>
      divisors(ranks / tensor / expert).flatMap(pipeline =>
        divisors(ranks / tensor / expert / pipeline).map(shard =>
          meshSizes({ tensor, expert, pipeline, shard, data: ranks / tensor / expert / pipeline / shard }),
        ),
      ),
    ),
  )
}
