// Rounding that knows what goes into a matrix.

import { type GgmlTypeName, levelLayouts } from '../../formats/index.ts'
import { type BlockEncoder, quantize, type RowPlace, roundToNearest } from '../../models/index.ts'
import { tensor } from '../../torch/index.ts'
import { gptq } from './gptq.ts'
import type { ImportanceOf } from './importance-of.ts'
import type { PlacedHessians } from './placed-hessians.ts'

/**
 * How a matrix is rounded: to nearest without samples; `fitted`, each block's scale being searched for the least
 * `sum_i E[x_i^2] (w_i - q_i)^2` (formats/quantization/fit.ts); or by GPTQ, where samples suffice and the type has levels to choose.
 */
export type RoundingMethod = 'nearest' | 'fitted' | 'gptq'

export function methodAt(
  place: RowPlace,
  type: GgmlTypeName,
  importanceOf: ImportanceOf,
  products: PlacedHessians | null,
): RoundingMethod {
  if (importanceOf(place.tensor).columns(place.matrix) === null) return 'nearest'
  return products && levelLayouts[type] && products.of(place) ? 'gptq' : 'fitted'
}

/** @param products with them, GPTQ is used where it can be. Default: never */
export function encoderOf(importanceOf: ImportanceOf, products: PlacedHessians | null = null): BlockEncoder {
  return (rows, type, place) => {
    const method = methodAt(place, type, importanceOf, products)
    if (method === 'nearest') return roundToNearest(rows, type, place)
    const importance = tensor(importanceOf(place.tensor).columns(place.matrix) as Float32Array)
    const factor = method === 'gptq' ? (products?.factorOf(place) ?? null) : null
    return factor === null
      ? quantize(rows.reshape([-1]), type, importance)
      : gptq(rows, type, factor, importance)
  }
}
