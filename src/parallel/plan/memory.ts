// Bytes of one rank in training.
// Shapes: T tokens of a micro-batch, K choices per token, D model.

import { headActivations, layerActivations } from '../../models/index.ts'
import type { MeshSizes } from '../mesh.ts'
import { elements, localShapes, type ModelParts, stagePart } from './model-parts.ts'
import type { PlanSettings } from './settings.ts'

export interface RankMemory {
  weights: number
  gradients: number
  /** AdamW's moments in f32, and weights in f32 where they are bf16. */
  optimizer: number
  /** What backward needs of forward, of all micro-batches that are on their way. */
  activations: number
  /** Rows on their way to experts and back, and parameters that were gathered from `shard`. */
  buffers: number
  /** What is computed with for a moment. */
  working: number
}

export const rankBytes = (memory: RankMemory): number =>
  Object.values(memory).reduce((sum, part) => sum + part)

/** Micro-batches of a step on each rank. */
export const microBatches = (sizes: MeshSizes, { batch, microBatch }: PlanSettings): number =>
  batch / (sizes.data * sizes.shard * sizes.expert * microBatch)

/**
 * The memory of the ranks of a stage. In 1F1B stage s of p has `p - s` micro-batches on their way, at most as many as there are
 * (PipeDream-Flush, arXiv:2006.09503; Megatron-LM, arXiv:2104.04473, section 2.2).
 */
export function stageMemory(
  parts: ModelParts,
  sizes: MeshSizes,
  settings: PlanSettings,
  stage: number,
): RankMemory {
  const { layers, outside, head } = stagePart(parts, stage, sizes.pipeline)
  const local = layers.map(({ declarations }) => localShapes(declarations, sizes))
  const numbers = [outside, ...local].map(elements)
  const all = sum(numbers)
  const size = bytesOf(settings)
  const held = settings.zero === 3 ? all / sizes.shard : all
  const layerSizes = layers.map((layer, i) =>
    layerActivations(local[i]!, activationSizes(parts, layer, sizes, settings)),
  )
  const last = headActivations(parts.config.vocab_size, activationSizes(parts, layers[0]!, sizes, settings))
  const underway = Math.min(sizes.pipeline - stage, microBatches(sizes, settings))
  const again = settings.recompute === 'layers'
  const kept = layerSizes.map(each => each.input + (again ? 0 : each.activations))
  const within = again ? Math.max(...layerSizes.map(({ activations }) => activations)) : 0
  const ends = head.size > 0 ? last.held + last.activations : 0
  return {
    weights: held * size,
    gradients: held * size,
    optimizer: (all / sizes.shard) * optimizerBytes[settings.dtype],
    activations: underway * sum([...kept, ...layerSizes.map(({ routing }) => routing)]) + within + ends,
    buffers: exchangeRows(parts, layers, sizes, settings) + gathered(numbers, sizes, settings),
    working: Math.max(head.size > 0 ? last.working : 0, ...layerSizes.map(({ working }) => working)),
  }
}

/** Bytes of AdamW's two moments in f32, and of a copy of the weight. */
const optimizerBytes = { f32: 8, bf16: 12 } as const

export const bytesOf = ({ dtype }: Pick<PlanSettings, 'dtype'>): number => (dtype === 'f32' ? 4 : 2)

export const microTokens = ({ microBatch, sequenceLength }: PlanSettings): number =>
  microBatch * sequenceLength

/** `T K D` numbers that are sent and, of the busiest rank, as many more as the load is uneven that are received. */
function exchangeRows(
  { config }: ModelParts,
  layers: readonly { choices: number }[],
  { expert }: MeshSizes,
  settings: PlanSettings,
): number {
  if (expert === 1) return 0
  const choices = Math.max(...layers.map(layer => layer.choices))
  return microTokens(settings) * choices * config.hidden_size * bytesOf(settings) * (1 + settings.imbalance)
}

/** Parameters of the largest part, whole, and their gradients before they are divided. */
function gathered(numbers: readonly number[], { shard }: MeshSizes, settings: PlanSettings): number {
  return settings.zero === 3 && shard > 1 ? 2 * Math.max(...numbers) * bytesOf(settings) : 0
}

function activationSizes(
  { config, isCausal, neurons }: ModelParts,
  { experts, choices }: { experts: number; choices: number },
  { tensor }: MeshSizes,
  settings: PlanSettings,
) {
  return {
    positions: settings.sequenceLength,
    tokens: microTokens(settings),
    model: config.hidden_size,
    heads: config.num_attention_heads / tensor,
    isCausal,
    rotatesPartly: config.partial_rotary_factor < 1,
    ...{ experts, choices, neurons },
    size: bytesOf(settings),
    onDevice: settings.dtype === 'bf16',
    smooths: false,
    compares: false,
  }
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
