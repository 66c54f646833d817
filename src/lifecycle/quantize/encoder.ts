// Rounding that knows which columns count.

import type { BlockEncoder } from '../../models/index.ts'
import { quantize, roundToNearest } from '../../models/index.ts'
import { tensor } from '../../torch/index.ts'
import type { ImportanceOf } from './importance-of.ts'

/**
 * Each block's scale is searched for the least `sum_i E[x_i^2] (w_i - q_i)^2` (formats/quantization/fit.ts); matrices without
 * samples are rounded to nearest.
 */
export function encoderOf(importanceOf: ImportanceOf): BlockEncoder {
  return (rows, type, place) => {
    const columns = importanceOf(place.tensor).columns(place.matrix)
    if (columns === null) return roundToNearest(rows, type, place)
    return quantize(rows.reshape([-1]), type, tensor(columns))
  }
}
