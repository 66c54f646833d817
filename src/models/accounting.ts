// Parameters, FLOPs and memory of a model, from its config alone: nothing is allocated, no native code is loaded.

import { MoeLayer, PeerLayer } from '../moe/index.ts'
import { type Declaration, type KvType, kvBytes } from '../nn/index.ts'
import { declareModel } from './architectures/create.ts'
import {
  type AnyModelConfig,
  architectureOf,
  isEncoderDecoder,
  type ModelConfig,
} from './architectures/table.ts'
import { EncoderDecoderLM } from './stack/encoder-decoder.ts'
import type { FeedForward } from './stack/layers.ts'

export interface ParameterCounts {
  total: number
  /** Those that one token uses, the input embedding included: what papers quote. */
  active: number
  /** Those that one token multiplies with, without the input embedding: what FLOPs follow from. */
  activeWithoutEmbedding: number
}

export function countParameters(config: AnyModelConfig): ParameterCounts {
  const model = declareModel(config)
  const total = sum([...model.declarations().values()].map(elements))
  const active = total - sum([...feedForwards(model).values()].map(inactive))
  const embedding = config.vocab_size * (isEncoderDecoder(config) ? config.d_model : config.hidden_size)
  // A tied embedding is multiplied with as the head.
  return { total, active, activeWithoutEmbedding: config.tie_word_embeddings ? active : active - embedding }
}

const elements = ({ shape }: Declaration): number => shape.reduce((product, size) => product * size, 1)
const inactive = ({ inactiveParameters = 0 }: FeedForward): number => inactiveParameters

/** The feed-forward of each layer, by the layer's path. */
function feedForwards(model: ReturnType<typeof declareModel>): Map<string, FeedForward> {
  if (!(model instanceof EncoderDecoderLM))
    return new Map(model.model.layers.map(({ mlp }, i) => [`model.layers.${i}`, mlp]))
  return new Map(
    (['encoder', 'decoder'] as const).flatMap(side =>
      model[side].layers.map(({ ffn }, i): [string, FeedForward] => [`${side}.layers.${i}`, ffn]),
    ),
  )
}

/** A model's feed-forwards in a few words, as `8 experts top-2 and a shared one in 3 of 4 layers`. */
export function describeFeedForward(config: AnyModelConfig): string {
  const all = [...feedForwards(declareModel(config)).values()]
  const sparse = all.filter(block => block instanceof MoeLayer || block instanceof PeerLayer)
  const [first] = sparse
  if (!first) return 'dense'
  const chooser = architectureOf(config).chooser?.(config)
  const where = sparse.length < all.length ? ` in ${sparse.length} of ${all.length} layers` : ''
  if (first instanceof PeerLayer) return `${first.numExperts} single-neuron experts${where}, ${chooser}`
  const shared = 'shared_expert' in first ? ' and a shared one' : ''
  const chosen = chooser === undefined ? ` top-${first.gate.active}` : ''
  return `${first.experts.numExperts} experts${chosen}${shared}${where}${chooser ? `, ${chooser}` : ''}`
}

export interface FlopCounts {
  /** Positions attended to, averaged over layers and a sequence of `context` tokens. */
  meanContext: number
  forward: number
  /** Forward and backward: three times forward. */
  training: number
}

/**
 * FLOPs per token over a sequence of `context` tokens: two per active parameter, and in each layer what attention costs
 * per position attended to (`4 heads head_dim`, where heads have keys and values of equal width). An encoder attends to
 * all of the sequence, a decoder to what is before each position.
 */
export function flopsPerToken(config: ModelConfig, context: number): FlopCounts {
  const { model } = declareModel(config)
  const reach = model.layers.map((_, i) =>
    model.isCausal ? meanReach(model.windowOf(i) ?? context, context) : context,
  )
  const attention = model.layers.map(({ self_attn }, i) => self_attn.flopsPerPosition * (reach[i] ?? 0))
  const forward = 2 * countParameters(config).activeWithoutEmbedding + sum(attention)
  return { meanContext: sum(reach) / reach.length, forward, training: 3 * forward }
}

/** Positions attended to, averaged over a causal sequence of `context` tokens, each of which sees `window` at most. */
export function meanReach(window: number, context: number): number {
  const reach = Math.min(window, context)
  // The first `reach` positions see 1..reach, the others `reach` each.
  return (reach * (reach + 1)) / 2 / context + (reach * (context - reach)) / context
}

/** Bytes per element by the names users know. */
export const bytesPerElement = { f32: 4, bf16: 2, f16: 2, f64: 8 } as const

export interface MemoryNeeds {
  weights: number
  /** Gradients in the weights' dtype and AdamW's two moments in f32. */
  optimizer: number
  /** Keys and values of one position in all layers. */
  cachePerToken: number
}

/** @param kv what keys and values are kept in; default: `dtype` */
export function memoryNeeds(
  config: AnyModelConfig,
  dtype: keyof typeof bytesPerElement,
  kv: KvType = dtype,
): MemoryNeeds {
  const { total } = countParameters(config)
  const size = bytesPerElement[dtype]
  const model = declareModel(config)
  const shapes = 'cacheShapes' in model ? model.cacheShapes : []
  const cachePerToken = sum(shapes.map(shape => kvBytes(shape, kv)))
  return { weights: total * size, optimizer: total * (size + 8), cachePerToken }
}

export interface LayerCounts {
  name: string
  /** How many such layers follow each other. */
  count: number
  total: number
  active: number
  parts: Record<string, number>
}

/** Parameters by embedding, layer and head; equal layers in one row. */
export function layerTable(config: AnyModelConfig): LayerCounts[] {
  const model = declareModel(config)
  const blocks = feedForwards(model)
  const rows: LayerCounts[] = []
  for (const [path, declaration] of model.declarations()) {
    const [, layer] = /^((?:model|encoder|decoder)\.layers\.\d+)\./.exec(path) ?? []
    const name = layer === undefined ? path.replace(/^model\.|\.weight$/g, '') : layerName(layer)
    const count = elements(declaration)
    const row = rows.find(known => known.name === name) ?? { name, count: 1, total: 0, active: 0, parts: {} }
    if (!rows.includes(row)) rows.push(row)
    const group = layer === undefined ? name : partNames[declaration.role]
    row.parts[group] = (row.parts[group] ?? 0) + count
    row.total += count
    const block = layer === undefined ? undefined : blocks.get(layer)
    row.active = row.total - (block ? inactive(block) : 0)
  }
  return mergeEqual(rows)
}

/** `model.layers.3` -> `layer 3`, `encoder.layers.3` -> `encoder layer 3`. */
const layerName = (path: string): string =>
  path
    .replace(/^model\./, '')
    .replace(/\.?layers\./, ' layer ')
    .trim()

const partNames: Record<Declaration['role'], string> = {
  norm: 'norms',
  attention: 'attention',
  router: 'router',
  experts: 'experts',
  shared: 'shared expert',
  dense: 'feed-forward',
  embedding: 'embedding',
  head: 'head',
  adapter: 'adapters',
}

function mergeEqual(rows: readonly LayerCounts[]): LayerCounts[] {
  const merged: LayerCounts[] = []
  for (const row of rows) {
    const last = merged.at(-1)
    const [, stack, number] = /^(.*?)layer (\d+)$/.exec(row.name) ?? []
    const follows = number !== undefined && last?.name.startsWith(`${stack}layer`)
    if (last && follows && JSON.stringify(last.parts) === JSON.stringify(row.parts)) {
      last.count++
      last.name = `${last.name.replace(/layers? (\d+).*/, 'layers $1')}-${number}`
    } else {
      merged.push({ ...row })
    }
  }
  return merged
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
