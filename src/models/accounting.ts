// Parameters, FLOPs and memory of a model, from its config alone: nothing is allocated, no native code is loaded.

import { elementCount, groupedAttentionCost } from './architecture.ts'
import { architectureOf, type ModelConfig } from './table.ts'

export interface ParameterCounts {
  total: number
  /** Those that one token uses, the input embedding included: what papers quote. */
  active: number
  /** Those that one token multiplies with, without the input embedding: what FLOPs follow from. */
  activeWithoutEmbedding: number
}

export function countParameters(config: ModelConfig): ParameterCounts {
  const architecture = architectureOf(config)
  const total = sum([...architecture.parameterShapes(config).values()].map(elementCount))
  const active = total - sum(inactivePerLayer(config))
  const embedding = config.vocab_size * config.hidden_size
  // A tied embedding is multiplied with as the head.
  return { total, active, activeWithoutEmbedding: config.tie_word_embeddings ? active : active - embedding }
}

const inactivePerLayer = (config: ModelConfig): number[] =>
  Array.from({ length: config.num_hidden_layers }, (_, layer) =>
    architectureOf(config).inactiveParameters(config, layer),
  )

export interface FlopCounts {
  /** Positions attended to, averaged over layers and a sequence of `context` tokens. */
  meanContext: number
  forward: number
  /** Forward and backward: three times forward. */
  training: number
}

/**
 * FLOPs per token over a causal sequence of `context` tokens: two per active parameter, and in each layer what
 * attention costs per position attended to (`4 heads head_dim`, where heads have keys and values of equal width).
 */
export function flopsPerToken(config: ModelConfig, context: number): FlopCounts {
  const architecture = architectureOf(config)
  const { flops } = architecture.attentionCost?.(config) ?? groupedAttentionCost(config)
  const perLayer = Array.from({ length: config.num_hidden_layers }, (_, layer) => {
    const window = architecture.window ? architecture.window(config, layer) : config.sliding_window
    return meanReach(window ?? context, context)
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

export function memoryNeeds(config: ModelConfig, dtype: keyof typeof bytesPerElement): MemoryNeeds {
  const { total } = countParameters(config)
  const size = bytesPerElement[dtype]
  const { cached: perLayer } = architectureOf(config).attentionCost?.(config) ?? groupedAttentionCost(config)
  const cached = config.num_hidden_layers * perLayer
  return { weights: total * size, optimizer: total * (size + 8), cachePerToken: cached * size }
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
export function layerTable(config: ModelConfig): LayerCounts[] {
  const architecture = architectureOf(config)
  const inactive = inactivePerLayer(config)
  const rows: LayerCounts[] = []
  for (const [path, shape] of architecture.parameterShapes(config)) {
    const [, layer, part = ''] = /^model\.layers\.(\d+)\.([\w.]+)$/.exec(path) ?? []
    const name = layer === undefined ? path.replace(/^model\.|\.weight$/g, '') : `layer ${layer}`
    const count = elementCount(shape)
    const row = rows.find(known => known.name === name) ?? { name, count: 1, total: 0, active: 0, parts: {} }
    if (!rows.includes(row)) rows.push(row)
    const group = layer === undefined ? name : partName(part)
    row.parts[group] = (row.parts[group] ?? 0) + count
    row.total += count
    row.active = row.total - (layer === undefined ? 0 : (inactive[Number(layer)] ?? 0))
  }
  return mergeEqual(rows)
}

function partName(part: string): string {
  if (part.startsWith('self_attn')) return 'attention'
  if (part.startsWith('mlp.gate.')) return 'router'
  if (part.startsWith('mlp.experts')) return 'experts'
  if (part.startsWith('mlp.shared_expert')) return 'shared expert'
  return part.startsWith('mlp') ? 'feed-forward' : 'norms'
}

function mergeEqual(rows: readonly LayerCounts[]): LayerCounts[] {
  const merged: LayerCounts[] = []
  for (const row of rows) {
    const last = merged.at(-1)
    if (last && row.name.startsWith('layer') && JSON.stringify(last.parts) === JSON.stringify(row.parts)) {
      last.count++
      last.name = `${last.name.replace(/^layers? (\d+).*/, 'layers $1')}-${row.name.slice('layer '.length)}`
    } else {
      merged.push({ ...row })
    }
  }
  return merged
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
