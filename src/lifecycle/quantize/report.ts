// What became of each tensor of a quantized file.

import type { GgmlTypeName } from '../../formats/index.ts'
import type { GgufModelTensor } from '../../models/index.ts'
import type { RoundingMethod } from './encoder.ts'
import type { InputSquares } from './squares.ts'

export interface TensorReport {
  /** In the file. */
  name: string
  type: GgmlTypeName
  /** Per weight. */
  bits: number
  bytes: number
  /** See ErrorSum; null where nothing was rounded to blocks. */
  error: number | null
  /** The same of rounding to nearest. */
  plainError: number | null
  /** Matrices by how they were rounded; null where none was. */
  methods: Record<RoundingMethod, number> | null
  /** Inputs of each matrix; null where none were collected. */
  samples: SampleCounts | null
}

export interface SampleCounts {
  least: number
  median: number
  /** Matrices, which are experts, that no input has reached: they were rounded to nearest. */
  unseen: number[]
}

export function sampleCounts({ counts }: InputSquares): SampleCounts {
  const sorted = [...counts].sort((a, b) => a - b)
  return {
    least: sorted[0] ?? 0,
    median: sorted[sorted.length >> 1] ?? 0,
    unseen: [...counts.keys()].filter(matrix => counts[matrix] === 0),
  }
}

export function countMethods(methods: Iterable<RoundingMethod>): Record<RoundingMethod, number> {
  const counts = { nearest: 0, fitted: 0, gptq: 0 }
  for (const method of methods) counts[method] += 1
  return counts
}

/** Bits per weight of all tensors together. */
export function bitsPerWeight(
  tensors: readonly Pick<GgufModelTensor, 'shape'>[],
  bytes: readonly number[],
): number {
  const weights = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0)
  return (8 * bytes.reduce((a, b) => a + b, 0)) / weights
}
