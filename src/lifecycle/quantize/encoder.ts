// Rounding that knows what goes into a matrix.

import { type GgmlTypeName, levelLayouts } from '../../formats/index.ts'
import {
  type BlockEncoder,
  type GgufModelTensor,
  quantize,
  type RowPlace,
  roundToNearest,
} from '../../models/index.ts'
import { type Tensor, tensor } from '../../torch/index.ts'
import { gptq, inverseFactor } from './gptq.ts'
import type { Hessians } from './hessians.ts'
import type { ImportanceOf } from './importance-of.ts'

/** The products of inputs, by places of a file. */
export class PlacedHessians {
  readonly #hessians: Hessians
  readonly #parameters: ReadonlyMap<string, string>
  /** Of the matrix that was asked for last: its rows come many at a time, but one matrix after the other. */
  #last: { key: string; factor: Tensor } | null = null

  constructor(hessians: Hessians, tensors: readonly GgufModelTensor[]) {
    this.#hessians = hessians
    this.#parameters = new Map(tensors.map(({ name, parameter }) => [name, parameter]))
  }

  of({ tensor, matrix }: RowPlace): Tensor | null {
    return this.#hessians.of(this.#parameters.get(tensor) ?? '', matrix)
  }

  /** See inverseFactor(); null where there are too few samples. */
  factorOf({ tensor, matrix }: RowPlace): Tensor | null {
    const parameter = this.#parameters.get(tensor) ?? ''
    const key = `${parameter} ${matrix}`
    if (this.#last?.key === key) return this.#last.factor
    const hessian = this.of({ tensor, matrix })
    if (hessian === null) return null
    this.#last?.factor.dispose()
    this.#last = { key, factor: inverseFactor(hessian).persist() }
    return this.#last.factor
  }

  [Symbol.dispose](): void {
    this.#last?.factor.dispose()
    this.#last = null
  }
}

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
