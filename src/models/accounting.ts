// Parameters, FLOPs and memory of a model, from its config alone: nothing is allocated, no native code is loaded.

import { elementCount, groupedAttentionCost } from './architecture.ts'
import {
  type AnyModelConfig,
  architectureOf,
  encoderDecoderOf,
  isEncoderDecoder,
  type ModelConfig,
  modelFileOf,
} from './table.ts'

export interface ParameterCounts {
  total: number
  /** Those that one token uses, the input embedding included: what papers quote. */
  active: number
  /** Those that one token multiplies with, without the input embedding: what FLOPs follow from. */
  activeWithoutEmbedding: number
}

export function countParameters(config: AnyModelConfig): ParameterCounts {
  const total = sum([...modelFileOf(config).parameterShapes(config).values()].map(elementCount))
  const active = total - sum([...inactivePerLayer(config).values()])
  const embedding = config.vocab_size * (isEncoderDecoder(config) ? config.d_model : config.hidden_size)
  // A tied embedding is multiplied with as the head.
  return { total, active, activeWithoutEmbedding: config.tie_word_embeddings ? active : active - embedding }
}

/** Elements that a token does not use, by the path of the layer. */
function inactivePerLayer(config: AnyModelConfig): Map<string, number> {
  const layers = (count: number): number[] => Array.from({ length: count }, (_, layer) => layer)
  if (!isEncoderDecoder(config)) {
    const architecture = architectureOf(config)
    return new Map(
      layers(config.num_hidden_layers).map(layer => [
        `model.layers.${layer}`,
        architecture.inactiveParameters(config, layer),
      ]),
    )
  }
  const architecture = encoderDecoderOf(config)
  const counts = architecture.layers(config)
  return new Map(
    (['encoder', 'decoder'] as const).flatMap(side =>
      layers(counts[side]).map((layer): [string, number] => [
        `${side}.layers.${layer}`,
        architecture.inactiveParameters(config, side, layer),
      ]),
    ),
  )
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
  const architecture = architectureOf(config)
  const { flops } = architecture.attentionCost?.(config) ?? groupedAttentionCost(config)
  const perLayer = Array.from({ length: config.num_hidden_layers }, (_, layer) => {
    const window = architecture.window ? architecture.window(config, layer) : config.sliding_window
    return architecture.isCausal === false ? context : meanReach(window ?? context, context)
  })
  const forward = 2 * countParameters(config).activeWithoutEmbedding + flops * sum(perLayer)
  return { meanContext: sum(perLayer) / perLayer.length, forward, training: 3 * forward }
}

/** Positions attended to, averaged over a causal sequence. */
function meanReach(window: number, context: number): number {
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

export function memoryNeeds(config: AnyModelConfig, dtype: keyof typeof bytesPerElement): MemoryNeeds {
  const { total } = countParameters(config)
  const size = bytesPerElement[dtype]
  const needs = { weights: total * size, optimizer: total * (size + 8) }
  if (isEncoderDecoder(config)) {
    const heads = 2 * encoderDecoderOf(config).attentionWidth(config)
    return { ...needs, cachePerToken: heads * encoderDecoderOf(config).layers(config).decoder * size }
  }
  const { cached: perLayer } = architectureOf(config).attentionCost?.(config) ?? groupedAttentionCost(config)
  const cached = config.num_hidden_layers * perLayer
  return { ...needs, cachePerToken: cached * size }
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
  const inactive = inactivePerLayer(config)
  const rows: LayerCounts[] = []
  for (const [path, shape] of modelFileOf(config).parameterShapes(config)) {
    const [, layer, part = ''] = /^((?:model|encoder|decoder)\.layers\.\d+)\.([\w.]+)$/.exec(path) ?? []
    const name = layer === undefined ? path.replace(/^model\.|\.weight$/g, '') : layerName(layer)
    const count = elementCount(shape)
    const row = rows.find(known => known.name === name) ?? { name, count: 1, total: 0, active: 0, parts: {} }
    if (!rows.includes(row)) rows.push(row)
    const group = layer === undefined ? name : partName(part)
    row.parts[group] = (row.parts[group] ?? 0) + count
    row.total += count
    row.active = row.total - (layer === undefined ? 0 : (inactive.get(layer) ?? 0))
  }
  return mergeEqual(rows)
}

/** `model.layers.3` -> `layer 3`, `encoder.layers.3` -> `encoder layer 3`. */
const layerName = (path: string): string =>
  path
    .replace(/^model\./, '')
    .replace(/\.?layers\./, ' layer ')
    .trim()

function partName(part: string): string {
  if (/norm/.test(part) && !/attn\./.test(part)) return 'norms'
  if (/^(self_attn|cross_attention)\./.test(part)) return 'attention'
  if (/^(mlp|ffn)\.(gate\.|query\.|sub_keys)/.test(part)) return 'router'
  if (/^(mlp|ffn)\.(experts|input_weights|output_weights)/.test(part)) return 'experts'
  return part.startsWith('mlp.shared_expert') ? 'shared expert' : 'feed-forward'
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
