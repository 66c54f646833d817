// What the configs of MoE models share.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'

export const expertCount = z
  .int()
  .positive()
  .max(2 ** 20)
export const width = z
  .int()
  .positive()
  .max(2 ** 31)
export const layerNumber = z.int().nonnegative().max(10_000)

/** Throws ConfigError when a token is to use more experts than there are. */
export function refuseTooManyChosen(chosen: number, experts: number, name: string, source: string): void {
  if (chosen <= experts) return
  throw new ConfigError(`num_experts_per_tok ${chosen} must not exceed ${name} ${experts}`, { path: source })
}

/** How far a layer looks back: at the whole text, or at the last `sliding_window` positions. */
export type LayerType = 'full_attention' | 'sliding_attention'

export const layerTypes = z.array(z.enum(['full_attention', 'sliding_attention'])).max(10_000)

/** `layer_types` of the file, or what the type has by default. */
export function layerTypesOf(
  given: readonly LayerType[] | null | undefined,
  layers: number,
  byDefault: (layer: number) => LayerType,
  source: string,
): LayerType[] {
  if (!given) return Array.from({ length: layers }, (_, layer) => byDefault(layer))
  if (given.length === layers) return [...given]
  throw new ConfigError(`layer_types has ${given.length} entries for ${layers} layers`, { path: source })
}

/** Positions that a layer looks back on; null: all. */
export function windowOfType(
  config: { layer_types: readonly LayerType[]; sliding_window: number | null },
  layer: number,
): number | null {
  return config.layer_types[layer] === 'sliding_attention' ? config.sliding_window : null
}

/** Layers with experts among dense ones, as Qwen has them. */
export interface SparseLayers {
  /** Every n-th layer has experts (layer i when n divides i + 1). */
  decoder_sparse_step: number
  /** Layers that are dense all the same. */
  mlp_only_layers: number[]
}

export const sparseLayerFields = {
  decoder_sparse_step: z.int().positive().max(10_000).default(1),
  mlp_only_layers: z
    .array(layerNumber)
    .max(10_000)
    .nullish()
    .transform(layers => layers ?? []),
}

export function isSparseLayer(
  { decoder_sparse_step, mlp_only_layers }: SparseLayers,
  layer: number,
): boolean {
  return !mlp_only_layers.includes(layer) && (layer + 1) % decoder_sparse_step === 0
}
