// Meshes that cannot be: what is divided must be as often there as ranks, and divide evenly.

import { ConfigError } from '../../errors.ts'
import type { ModelConfig } from '../../models/index.ts'
import { type MeshSizes, worldSize } from '../mesh.ts'
import type { Cluster } from './hardware.ts'
import { type ModelParts, modelParts } from './model-parts.ts'
import type { PlanSettings } from './settings.ts'

/** @throws ConfigError for a mesh that does not divide a model's layers, heads, experts or widths */
export function checkMesh(config: ModelConfig, sizes: MeshSizes): void {
  const problem = meshProblem(modelParts(config, 1), sizes)
  if (problem) throw new ConfigError(problem.text, { path: `mesh.${problem.axis}` })
}

export interface MeshProblem {
  axis: 'expert' | 'tensor' | 'pipeline'
  text: string
}

/** What of a model a mesh does not divide; null where it divides all. */
export function meshProblem(parts: ModelParts, sizes: MeshSizes): MeshProblem | null {
  for (const { axis, counts, none } of wanted(parts)) {
    const size = sizes[axis]
    if (size === 1) continue
    if (none !== null) return { axis, text: `${size} ranks, but ${none}: leave ${axis} out` }
    for (const [name, count] of counts) {
      if (count % size === 0) continue
      const fits = divisors(gcd(counts.map(([, each]) => each))).filter(each => each > 1)
      const remedy = fits.length > 0 ? `take ${fits.join(', ')}` : `leave ${axis} out`
      const why = size > count ? 'more than' : 'which do not divide'
      return { axis, text: `${size} ranks, ${why} the ${count} ${name}: ${remedy}` }
    }
  }
  return null
}

interface Wanted {
  axis: MeshProblem['axis']
  counts: [name: string, count: number][]
  /** Why there is nothing to divide. */
  none: string | null
}

function wanted({ config, layers }: ModelParts): Wanted[] {
  const all = layers.flatMap(({ declarations }) => [...declarations])
  const stacks = all.filter(([, { stacked }]) => stacked)
  const widths = stacks.flatMap(([path, { shape }]): number[] =>
    path.endsWith('down_proj') ? [shape[2] ?? 0] : [],
  )
  const cut = stacks.every(([path]) => /(?:up|down)_proj(?:_bias)?$/.test(path))
  const [norm, width = 0] = all.flatMap(([path, { shape }]) =>
    /self_attn\.[qk]_norm\.weight$/.test(path) ? [path, shape[0] ?? 0] : [],
  ) as [string?, number?]
  const isWhole =
    norm !== undefined && width > (config.head_dim ?? config.hidden_size / config.num_attention_heads)
  const experts = stacks.map(([, { shape }]) => shape[0] ?? 0)
  return [
    {
      axis: 'expert',
      counts: unique(experts).map(each => ['experts', each]),
      none: stacks.length === 0 ? 'the model has no stacks of experts' : null,
    },
    {
      axis: 'tensor',
      counts: [
        ['heads', config.num_attention_heads],
        ['heads of keys and values', config.num_key_value_heads],
        ...unique(widths).map((each): [string, number] => ['neurons of an expert', each]),
      ],
      none: isWhole
        ? 'the norms of queries and keys are over all heads'
        : cut
          ? null
          : 'the experts are no stacks of whole matrices',
    },
    { axis: 'pipeline', counts: [['layers', layers.length]], none: null },
  ]
}

/** @throws ConfigError for a batch that the ranks cannot share, or a cluster of another size */
export function checkBatch(sizes: MeshSizes, { batch, microBatch }: PlanSettings): void {
  const readers = sizes.data * sizes.shard * sizes.expert
  if (batch % (readers * microBatch) === 0) return
  const places = `${readers} ranks along data, shard and expert with micro-batches of ${microBatch}`
  throw new ConfigError(
    `${batch} sequences cannot be shared by ${places}: take a multiple of ${readers * microBatch}`,
    { path: 'batch' },
  )
}

/** @throws ConfigError for a cluster of more or fewer ranks than the mesh */
export function checkCluster(sizes: MeshSizes, { name, ranks }: Cluster): void {
  const size = worldSize(sizes)
  if (size !== ranks)
    throw new ConfigError(`${size} ranks, but ${name} has ${ranks}: their product must be ${ranks}`, {
      path: 'mesh',
    })
}

const unique = (values: readonly number[]): number[] => [...new Set(values)]

export const divisors = (count: number): number[] =>
  Array.from({ length: count }, (_, i) => i + 1).filter(each => count % each === 0)

const gcd = (values: readonly number[]): number =>
  values.reduce((a, b) => {
    let [x, y] = [a, b]
    while (y !== 0) [x, y] = [y, x % y]
    return x
  })
