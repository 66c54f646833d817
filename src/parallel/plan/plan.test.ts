// The planner by values worked out by hand, and by what must hold of any plan.
import { describe, expect, test } from 'vitest'
import { countParameters, flopsPerToken, parseModelConfig } from '../../models/index.ts'
import { meshSizes, parseMesh, worldSize } from '../mesh.ts'
import { checkBatch, checkCluster, checkMesh } from './check.ts'
import { trafficOf, trafficSeconds } from './collectives.ts'
import { groupAlong } from './communication.ts'
import { parseCluster } from './hardware.ts'
import { elements, layerFlops, modelParts } from './model-parts.ts'
import { planMesh } from './plan.ts'
import { meshesOf, suggestMesh } from './suggest.ts'

// Of a layer: norms 2 x 8, attention q 8x8, k and v 4x8 each, o 8x8 = 192, router 4x8 = 32, experts 4 x (2 x 16 x 8 + 8 x 16) = 1,536.
const config = parseModelConfig({
  ...{ model_type: 'mixtral', vocab_size: 10, hidden_size: 8, intermediate_size: 16, num_hidden_layers: 4 },
  ...{ num_attention_heads: 4, num_key_value_heads: 2, num_local_experts: 4, num_experts_per_tok: 2 },
  ...{ max_position_embeddings: 64, tie_word_embeddings: false },
})
const beside = 16 + 192 + 32
const experts = 1536
const outside = 2 * 80 + 8
const settings = { sequenceLength: 16, batch: 16, microBatch: 1, dtype: 'f32' } as const

const plan = (mesh: string, more = {}) => planMesh(config, parseMesh(mesh), { ...settings, ...more })
const stage = (mesh: string, i = 0, more = {}) => plan(mesh, more).stages[i]!
const exchanges = (mesh: string, i = 0, more = {}) =>
  Object.fromEntries(
    stage(mesh, i, more).exchanges.map(({ what, bytes, calls, group }) => [
      what,
      { bytes, calls, ranks: group.ranks },
    ]),
  )

describe('collectives of 8 ranks and 800 bytes', () => {
  const none = { messages: 0, bytes: 0 }
  test.each([
    ['all-reduce', 14, 1400],
    ['all-gather', 7, 700],
    ['reduce-scatter', 7, 700],
    ['all-to-all', 7, 700],
    ['send', 1, 800],
  ] as const)('%s on one node', (name, messages, bytes) => {
    expect(trafficOf(name, 800, { ranks: 8, perNode: 8 })).toEqual({
      intra: { messages, bytes },
      inter: none,
    })
  })

  test('over two nodes rings go as fast as between nodes, an all-to-all has both ways', () => {
    expect(trafficOf('all-reduce', 800, { ranks: 8, perNode: 4 })).toEqual({
      intra: none,
      inter: { messages: 14, bytes: 1400 },
    })
    const mixed = trafficOf('all-to-all', 800, { ranks: 8, perNode: 4 })
    expect(mixed).toEqual({ intra: { messages: 3, bytes: 300 }, inter: { messages: 4, bytes: 400 } })
    const links = { intra: { alpha: 1, beta: 0.01 }, inter: { alpha: 10, beta: 0.1 } }
    expect(trafficSeconds(mixed, links)).toBeCloseTo(3 + 3 + 40 + 40, 9)
  })

  test('with itself alone nothing is sent', () => {
    expect(trafficOf('all-reduce', 800, { ranks: 1, perNode: 8 })).toEqual({ intra: none, inter: none })
  })
})

test('groups are of ranks that differ on their axes, of whom neighbours share a node', () => {
  const sizes = meshSizes({ tensor: 2, expert: 4, data: 2 })
  expect(groupAlong(sizes, ['tensor'], 8)).toEqual({ ranks: 2, perNode: 2 })
  expect(groupAlong(sizes, ['expert'], 4)).toEqual({ ranks: 4, perNode: 2 }) // 0 2 | 4 6
  expect(groupAlong(sizes, ['expert', 'data'], 8)).toEqual({ ranks: 8, perNode: 4 })
})

describe('memory of a rank', () => {
  const weights = (mesh: string, i = 0, more = {}) => stage(mesh, i, more).memory.weights / 4

  test.each([
    ['data=2', 4 * (beside + experts) + outside],
    ['expert=4', 4 * (beside + experts / 4) + outside],
    ['tensor=2', 4 * (16 + 192 / 2 + 32 + experts / 2) + outside],
    ['expert=2,tensor=2', 4 * (16 + 192 / 2 + 32 + experts / 4) + outside],
  ])('%s: weights', (mesh, numbers) => {
    expect(weights(mesh)).toBe(numbers)
    expect(stage(mesh).memory.gradients).toBe(4 * numbers)
    expect(stage(mesh).memory.optimizer).toBe(8 * numbers)
  })

  test('stages have their layers, the first the embedding and the last norm and head', () => {
    expect(weights('pipeline=2', 0)).toBe(2 * (beside + experts) + 80)
    expect(weights('pipeline=2', 1)).toBe(2 * (beside + experts) + 88)
  })

  test('shards divide optimizer states, and with zero 3 gradients and parameters', () => {
    const all = 4 * (beside + experts) + outside
    expect(stage('shard=4').memory).toMatchObject({
      weights: 4 * all,
      gradients: 4 * all,
      optimizer: 2 * all,
    })
    expect(stage('shard=4', 0, { zero: 3 }).memory).toMatchObject({
      ...{ weights: all, gradients: all, optimizer: 2 * all },
      buffers: 2 * (beside + experts) * 4, // one layer whole, and its gradients
    })
  })

  test('rows to experts are in memory as sent and as received', () => {
    expect(stage('data=2').memory.buffers).toBe(0)
    expect(stage('expert=2').memory.buffers).toBe(16 * 2 * 8 * 4 * 2)
    expect(stage('expert=2', 0, { imbalance: 1.5 }).memory.buffers).toBe(16 * 2 * 8 * 4 * 2.5)
  })

  test('of a pipeline the first stage has most micro-batches on their way', () => {
    const [first, second, , last] = plan('pipeline=4').stages.map(({ memory }) => memory.activations)
    expect(first).toBe((4 / 3) * (second as number))
    expect(second as number).toBeGreaterThan(last as number)
    expect(plan('pipeline=4', { recompute: 'layers' }).stages[0]?.memory.activations).toBeLessThan(
      first as number,
    )
  })
})

describe('exchanges of a step', () => {
  const hidden = 16 * 8 * 4 // T D in f32

  test('experts and data', () => {
    expect(exchanges('expert=4,data=2')).toEqual({
      'rows to experts and back': { bytes: 2 * hidden, calls: 2 * 4 * 4, ranks: 4 }, // 16 / 8 micro-batches
      'gradients of experts': { bytes: 4 * experts, calls: 1, ranks: 2 }, // of 4 layers, a quarter of the experts, 4 bytes
      'gradients of all else': { bytes: (4 * beside + outside) * 4, calls: 1, ranks: 8 },
    })
  })

  test('layers that are computed again send rows again', () => {
    expect(exchanges('expert=4,data=2', 0, { recompute: 'layers' })['rows to experts and back']?.calls).toBe(
      2 * 4 * 6,
    )
  })

  test('tensor and pipeline', () => {
    expect(exchanges('tensor=2,pipeline=2')).toEqual({
      'sums of heads and widths': { bytes: hidden, calls: 16 * 2 * 2 * 2, ranks: 2 },
      'hidden states to the next stage': { bytes: hidden, calls: 2 * 16, ranks: 2 },
    })
  })

  test('shards', () => {
    const bytes = (4 * (beside + experts) + outside) * 4
    expect(exchanges('shard=2,data=2')).toEqual({
      'gradients to their shards': { bytes, calls: 1, ranks: 2 },
      'gradients of experts': { bytes: (4 * experts * 4) / 2, calls: 1, ranks: 2 },
      'gradients of all else': { bytes: ((4 * beside + outside) * 4) / 2, calls: 1, ranks: 2 },
      'parameters of shards': { bytes, calls: 1, ranks: 2 },
    })
    expect(exchanges('shard=2,data=2', 0, { zero: 3 })['parameters of shards']?.calls).toBe(2 * 4)
  })
})

describe('time', () => {
  test('one rank computes what the model takes by its own count', () => {
    const { stages } = plan('data=1')
    expect(stages[0]?.flops).toBeCloseTo(16 * 16 * flopsPerToken(config, 16).training, 3)
  })

  test('experts that are elsewhere take as much, widths and heads that are divided less', () => {
    const [layer] = modelParts(config, 16).layers
    const attention = layer!.attentionFlops
    expect(layerFlops(layer!, meshSizes({ expert: 4 }))).toBe(2 * (beside + experts / 2) + attention)
    expect(layerFlops(layer!, meshSizes({ tensor: 2 }))).toBe(2 * (48 + 96 + experts / 4) + attention / 2)
    expect(layerFlops(layer!, meshSizes({ expert: 4 }), 2)).toBe(2 * (beside + experts) + attention)
  })

  test('of a pipeline with as many micro-batches as stages less one, half of the busy time is added', () => {
    const { time } = plan('pipeline=4', { batch: 6, cluster: parseCluster('h100:4x1') })
    const busy = time!.compute + time!.exchange
    expect(time!.bubble).toBeCloseTo((busy * 3) / 6, 12)
    expect(time!.total).toBeCloseTo(busy * 1.5, 12)
  })

  test('what passes while products are computed takes no time', () => {
    const cluster = parseCluster('h100:4x2')
    const hidden = plan('expert=4,data=2', { overlap: 1, cluster }).time!
    expect(hidden.exchange).toBe(0)
    expect(hidden.total).toBe(hidden.compute)
  })
})

test('all parameters are with some rank: stages together hold the model', () => {
  const parts = modelParts(config, 16)
  const layers = parts.layers.reduce((sum, { declarations }) => sum + elements(declarations), 0)
  expect(layers + elements(parts.before) + elements(parts.after)).toBe(countParameters(config).total)
})

describe('refused', () => {
  test.each([
    ['expert=8', 'mesh.expert: 8 ranks, more than the 4 experts: take 2, 4'],
    ['expert=3', 'mesh.expert: 3 ranks, which do not divide the 4 experts: take 2, 4'],
    ['tensor=4', 'mesh.tensor: 4 ranks, more than the 2 heads of keys and values: take 2'],
    ['pipeline=3', 'mesh.pipeline: 3 ranks, which do not divide the 4 layers: take 2, 4'],
  ])('%s', (mesh, message) => expect(() => checkMesh(config, parseMesh(mesh))).toThrow(message))

  test('experts where there are none', () => {
    const dense = parseModelConfig({
      model_type: 'mistral',
      vocab_size: 10,
      hidden_size: 8,
      intermediate_size: 16,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      num_key_value_heads: 2,
    })
    expect(() => checkMesh(dense, parseMesh('expert=2'))).toThrow(
      'mesh.expert: 2 ranks, but the model has no stacks of experts: leave expert out',
    )
  })

  test('a batch that cannot be shared, a cluster of another size, hardware that is not known', () => {
    expect(() => checkBatch(parseMesh('data=3'), { ...plan('data=1').settings })).toThrow(
      'batch: 16 sequences cannot be shared by 3 ranks along data, shard and expert with micro-batches of 1: take a multiple of 3',
    )
    expect(() => checkCluster(parseMesh('data=3'), parseCluster('h100:8x2'))).toThrow(
      'mesh: 3 ranks, but h100:8x2 has 16',
    )
    expect(() => parseCluster('h900:8x2')).toThrow("cluster: 'h900:8x2' is no HARDWARE:PER_NODExNODES")
  })
})

describe('suggestions', () => {
  const found = suggestMesh(config, parseCluster('h100:4x2'), settings)

  test('use all ranks, divide what they must, fit, and come fastest first', () => {
    expect(found.length).toBeGreaterThan(3)
    for (const { sizes } of found) {
      expect(worldSize(sizes)).toBe(8)
      expect(() => checkMesh(config, sizes)).not.toThrow()
      expect(() => checkBatch(sizes, found[0]!.settings)).not.toThrow()
    }
    const times = found.map(({ time }) => time!.total)
    expect(times).toEqual(times.toSorted((a, b) => a - b))
  })

  test('are none where nothing fits', () => {
    const cluster = parseCluster('h100:4x2')
    expect(
      suggestMesh(config, { ...cluster, hardware: { ...cluster.hardware, memory: 1000 } }, settings),
    ).toEqual([])
  })

  test('are of every product of five sizes', () => {
    expect(new Set(meshesOf(8).map(sizes => JSON.stringify(sizes))).size).toBe(35) // 3 factors of 2 on 5 axes
  })
})
