import { embedding, empty, Parameter, type Tensor } from '../torch/index.ts'
import { normal } from './init.ts'
import { Module } from './module.ts'

export interface EmbeddingOptions {
  /** A token whose row gets no gradient. */
  paddingIndex?: number
}

/** Rows of a table by index: i64 [...] -> [..., dim]. Initial rows are standard normal. */
export class Embedding extends Module {
  readonly weight: Parameter // [count, dim]
  readonly #paddingIndex: number

  constructor(count: number, dim: number, { paddingIndex = -1 }: EmbeddingOptions = {}) {
    super()
    this.weight = new Parameter(normal(empty([count, dim]), 1))
    this.#paddingIndex = paddingIndex
  }

  forward(indices: Tensor): Tensor {
    return embedding(this.weight, indices, this.#paddingIndex)
  }
}
