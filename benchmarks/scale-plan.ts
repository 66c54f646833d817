// What the planner predicts for published trainings, beside what was published; speeds to 1,024 ranks; and what placements of experts cost.
//   usage: scale-plan.ts [RECORDING]   (a recording of routing, of switchyard routing trace; otherwise routing is drawn)

import {
  clusterExperts,
  countCoActivation,
  emptySlot,
  readChoices,
  rebalanceExperts,
} from '../src/engine/index.ts'
import { type ModelConfig, presetConfig } from '../src/models/index.ts'
import { describeMesh, meshSizes } from '../src/parallel/mesh.ts'
import { parseCluster, planMesh, suggestMesh } from '../src/parallel/plan/index.ts'
import { drawRouting, placementCost, randomOf, type Spot } from './support/placement.ts'
import { report } from './support/report.ts'

const rows: string[][] = [['what', 'ranks', 'mesh or placement', 'value', '']]
const notes: string[] = []
const model = (name: string): ModelConfig => presetConfig(name) as ModelConfig
const tera = 1e12

// Megatron-Core's README (megatron/core/transformer/moe, v0.9) has 468 TFLOP/s per GPU, and this mapping, on 64 H100: interleaved
// stages of one layer each, so a bubble of an eighth. Mistral AI has published nothing about Mixtral's own training.
const mixtral = planMesh(model('mixtral-8x7b'), meshSizes({ expert: 8, pipeline: 4, data: 2 }), {
  cluster: parseCluster('h100:8x8'),
  overlap: 1,
})
const interleaved = mixtral.time!.total - mixtral.time!.bubble * (7 / 8)
const mixtralRate = mixtral.stages.reduce((sum, { flops }) => sum + flops, 0) / 4 / interleaved / tera
notes.push(
  `Mixtral 8x7B on 64 H100, exchanges hidden, TFLOP/s per GPU: ${mixtralRate.toFixed(0)} (aim: Megatron-Core's 468; what the share of H100 was taken from)`,
)

// DeepSeek-V3 (arXiv:2412.19437, section 3.2 and table 1): 2,048 H800, PP16, EP64, 15,360 sequences of 4,096; 14.8T tokens in 2.664M hours. It
// multiplies in FP8, dispatches in FP8 and hides exchanges; the plan is in bf16, once hiding nothing and once everything.
const deepseekMesh = meshSizes({ expert: 64, pipeline: 16, data: 2 })
const hoursOf = (overlap: number): number => {
  const plan = planMesh(model('deepseek-v3'), deepseekMesh, {
    cluster: parseCluster('h800:8x256'),
    batch: 15_360,
    overlap,
    recompute: 'none',
  })
  return (2048 * tera) / plan.tokensPerSecond! / 3600 / 1000
}
const [open, hidden] = [hoursOf(0), hoursOf(1)]
const published = 2664 / 14.8
notes.push(
  `DeepSeek-V3, thousand GPU hours per 1T tokens: ${hidden.toFixed(0)} with exchanges hidden, ${open.toFixed(0)} without (aim: ${published.toFixed(0)} between them)`,
)
rows.push([
  'DeepSeek-V3, thousand hours per 1T tokens',
  '2048',
  describeMesh(deepseekMesh),
  `${hidden.toFixed(0)} to ${open.toFixed(0)}`,
  `published ${published.toFixed(0)}`,
])

for (const [name, batch, recompute] of [
  ['mixtral-8x7b', 2048, 'none'],
  ['deepseek-v3', 4096, 'layers'],
] as const) {
  let most = 0 // tokens/s of a rank, of all sizes so far; the batch is the same, so more ranks have fewer micro-batches each
  for (const nodes of [1, 2, 4, 8, 16, 32, 64, 128]) {
    const ranks = 8 * nodes
    const [best] = suggestMesh(model(name), parseCluster(`h100:8x${nodes}`), { batch, recompute, zero: 3 })
    if (!best) {
      rows.push([name, `${ranks}`, 'none fits', '', ''])
      continue
    }
    const each = best.tokensPerSecond! / ranks
    most = Math.max(most, each)
    const speed = `${((each * ranks) / 1e3).toFixed(0)}k tokens/s`
    rows.push([name, `${ranks}`, describeMesh(best.sizes), speed, `${each.toFixed(0)} a rank`])
    if (nodes === 128)
      notes.push(
        `${name}, ${batch} sequences on 1,024 ranks, nothing hidden, speed of a rank over the best of fewer: ${(each / most).toFixed(2)} (aim: at least 0.8)`,
      )
  }
}

/** Lists of experts by token, of each layer; and of each token which text it is of. */
function routing(): {
  layers: number[][][]
  texts: number[]
  experts: number
  groups: number
  source: string
} {
  const [file] = process.argv.slice(2)
  if (file === undefined) {
    const sizes = { experts: 256, chosen: 8, groups: 8, keptGroups: 4, tokens: 16_384 }
    const texts = Array.from({ length: sizes.tokens }, (_, t) => Math.floor(t / 64))
    return {
      layers: [1, 2].map(seed => drawRouting(sizes, seed)),
      texts,
      experts: 256,
      groups: 8,
      source: 'drawn',
    }
  }
  const { layers, experts, topK, chosen, positions } = readChoices(file).choices
  const at = (layer: number, t: number): number[] => {
    const start = (t * layers + layer) * topK
    return [...chosen.subarray(start, start + topK)].filter(expert => expert !== emptySlot)
  }
  const all = Array.from({ length: layers }, (_, layer) => Array.from(positions, (_, t) => at(layer, t)))
  let text = 0
  const texts = Array.from(positions, position => (position === 0 ? ++text : text))
  return { layers: all, texts, experts, groups: 1, source: 'recorded' }
}

const { layers, texts, experts, groups, source } = routing()
const perNodeOf = (devices: number): number => Math.max(1, Math.min(8, devices / 2))

function shuffled(count: number): number[] {
  const random = randomOf(7)
  const items = [...Array(count).keys()].map(item => [random(), item] as const)
  return items.toSorted(([a], [b]) => a - b).map(([, item]) => item)
}

/** Placements by what every other text chose; the others are counted. */
function placementsOf(seen: readonly number[][], devices: number): Record<string, Spot> {
  const counts = countCoActivation(seen, experts)
  const nodes = devices / perNodeOf(devices)
  const block = Math.min(devices, experts) // beyond as many devices as experts, all experts once more for other tokens
  const copiesOf = (device: readonly number[]): number[][] =>
    device.map(each => Array.from({ length: devices / block }, (_, copy) => copy * block + each))
  const order = shuffled(experts)
  const blockNodes = Math.max(1, block / perNodeOf(devices))
  const replicas = devices * Math.max(2, (2 * experts) / devices)
  const [eplb] = rebalanceExperts([counts.map((row, e) => row[e] as number)], {
    replicas,
    gpus: devices,
    nodes,
    groups,
  })
  const spot = (devicesOf: number[][]): Spot => ({ devicesOf, devices, perNode: perNodeOf(devices) })
  return {
    random: spot(copiesOf(order.map(place => Math.floor((place * block) / experts)))),
    'EPLB, two places an expert or device': spot(
      eplb!.placesOf.map(places => places.map(place => Math.floor((place * devices) / replicas))),
    ),
    'co-activation': spot(copiesOf(clusterExperts(counts, { devices: block, nodes: blockNodes, groups }))),
  }
}

const deviceCounts = [8, 16, 64, 256, 1024, 4096].filter(devices =>
  devices <= experts ? experts % devices === 0 : devices % experts === 0,
)
for (const devices of deviceCounts) {
  const costs: Record<string, { rows: number; nodes: number; load: number }[]> = {}
  for (const layer of layers) {
    const [seen, other] = [0, 1].map(part => layer.filter((_, t) => (texts[t] as number) % 2 === part)) as [
      number[][],
      number[][],
    ]
    for (const [name, placed] of Object.entries(placementsOf(seen, devices)))
      costs[name] = [...(costs[name] ?? []), placementCost(other, placed)]
  }
  const mean = (name: string, key: 'rows' | 'nodes' | 'load'): number =>
    costs[name]!.reduce((sum, cost) => sum + cost[key], 0) / layers.length
  for (const name of Object.keys(costs))
    rows.push([
      `placement, ${source} routing`,
      `${devices}`,
      name,
      `${mean(name, 'rows').toFixed(2)} rows, ${mean(name, 'nodes').toFixed(2)} to other nodes a token`,
      `max/mean load ${mean(name, 'load').toFixed(2)}`,
    ])
  if (devices === 16 || devices === 64)
    notes.push(
      `${devices} devices, bytes moved between nodes by co-activation over random: ${(mean('co-activation', 'nodes') / mean('random', 'nodes')).toFixed(2)} (aim: below 1); between devices: ${(mean('co-activation', 'rows') / mean('random', 'rows')).toFixed(2)} (aim: below 1)`,
    )
  if (devices === 64)
    notes.push(
      `64 devices, max/mean load by EPLB over random: ${(mean('EPLB, two places an expert or device', 'load') / mean('random', 'load')).toFixed(2)} (aim: below 1)`,
    )
}

report({ name: 'scale-plan', setting: { source, experts, groups, deviceCounts }, rows, notes, data: {} })
