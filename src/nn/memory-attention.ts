// Multi-head attention of encoder-decoder models, over a sequence's own positions or over another's
// (arXiv:1706.03762 section 3.2.2).
// Shapes: B batch, T queries, S positions attended to, H heads, D head width.

import type { Tensor } from '../torch/index.ts'
import { attend } from './attend.ts'
import type { CacheShape } from './attention.ts'
import { Linear } from './linear.ts'
import { Module } from './module.ts'

export interface MemoryAttentionOptions {
  hiddenSize: number
  numHeads: number
  headDim: number
  /** Biases on all projections. Default false. */
  bias?: boolean
  /** Multiplies the scores. Default: 1 / sqrt(D); T5 has 1. */
  scale?: number
}

/** What queries attend to, [B, H, S, D] each. */
export interface KeysValues {
  keys: Tensor
  values: Tensor
}

export interface MemoryAttentionInput extends KeysValues {
  /** bool, true where a query may not look: [T, S] or [B, 1, 1, S]; null blocks nothing. */
  blocked: Tensor | null
  /** [1, H, T, S], added to the scores; null: nothing. */
  bias: Tensor | null
}

/** `softmax(scale q k^T + bias) v` per head, keys and values given by keysValues() of any sequence. */
export class MemoryAttention extends Module {
  readonly q_proj: Linear // [H*D, hidden]
  readonly k_proj: Linear // [H*D, hidden]
  readonly v_proj: Linear // [H*D, hidden]
  readonly out_proj: Linear // [hidden, H*D]
  readonly numHeads: number
  readonly headDim: number
  readonly scale: number

  constructor({ hiddenSize, numHeads, headDim, bias = false, scale }: MemoryAttentionOptions) {
    super()
    const width = numHeads * headDim
    this.numHeads = numHeads
    this.headDim = headDim
    this.scale = scale ?? headDim ** -0.5
    this.q_proj = new Linear(hiddenSize, width, { bias })
    this.k_proj = new Linear(hiddenSize, width, { bias })
    this.v_proj = new Linear(hiddenSize, width, { bias })
    this.out_proj = new Linear(width, hiddenSize, { bias })
  }

  get cacheShape(): CacheShape {
    const shape: [number, number] = [this.numHeads, this.headDim]
    return { keys: shape, values: shape }
  }

  /** x [B, S, hidden] */
  keysValues(x: Tensor): KeysValues {
    return { keys: this.#heads(this.k_proj.forward(x)), values: this.#heads(this.v_proj.forward(x)) }
  }

  /** x [B, T, hidden] -> [B, T, hidden] */
  forward(x: Tensor, { keys, values, blocked, bias }: MemoryAttentionInput): Tensor {
    const queries = this.#heads(this.q_proj.forward(x)) // [B, H, T, D]
    const mixed = attend(queries, keys, values, { scale: this.scale, blocked, bias })
    return this.out_proj.forward(mixed.transpose(1, 2).flatten(2))
  }

  /** [B, S, H * D] -> [B, H, S, D] */
  #heads(projected: Tensor): Tensor {
    const [batch, length] = projected.shape as [number, number]
    return projected.view([batch, length, this.numHeads, this.headDim]).transpose(1, 2)
  }
}
