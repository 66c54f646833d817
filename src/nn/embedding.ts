import { embedding, encodedRows, type Tensor } from '../torch/index.ts'
import { normal } from './init.ts'
import { Module } from './module.ts'
import { Parameter, type Role } from './parameter.ts'

export interface EmbeddingOptions {
  /** A token whose row gets no gradient. */
  paddingIndex?: number
  /** Default embedding. */
  role?: Role
}

/** Rows of a table by index: i64 [...] -> [..., dim]. Initial rows are standard normal. */
export class Embedding extends Module {
  readonly weight: Parameter // [count, dim]
  readonly #paddingIndex: number

  constructor(count: number, dim: number, { paddingIndex = -1, role = 'embedding' }: EmbeddingOptions = {}) {
    super()
    this.weight = new Parameter({ shape: [count, dim], role, init: normal(1), encodable: true })
    this.#paddingIndex = paddingIndex
  }

  forward(indices: Tensor): Tensor {
    const { encoding } = this.weight
    if (encoding === null) return embedding(this.weight, indices, this.#paddingIndex)
    return encodedRows(this.weight, encoding, indices).view([...indices.shape, -1])
  }
}
