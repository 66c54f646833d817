// The products of inputs, and what GPTQ makes of them, by places of a file.

import type { GgufModelTensor, RowPlace } from '../../models/index.ts'
import type { Tensor } from '../../torch/index.ts'
import { inverseFactor } from './gptq.ts'
import type { Hessians } from './hessians.ts'

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
