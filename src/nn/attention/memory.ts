// Multi-head attention of encoder-decoder models, over a sequence's own positions or over another's
// (arXiv:1706.03762 section 3.2.2).
// Shapes: N tokens, M tokens of the sources, H heads, D head width.

import { cat, type Tensor } from '../../torch/index.ts'
import { Dropout } from '../dropout.ts'
import { Linear } from '../linear.ts'
import { Module } from '../module.ts'
import { attend } from './attend.ts'
import {
  type AttendOptions,
  type CacheShape,
  eachSequence,
  headsOf,
  type Rows,
  rowsOf,
  rowsOfHeads,
} from './kv-store.ts'
import type { AttentionInput } from './self-attention.ts'
import { withinTokens } from './within-tokens.ts'

export interface MemoryAttentionOptions {
  hiddenSize: number
  numHeads: number
  headDim: number
  /** Biases on all projections. Default false. */
  bias?: boolean
  /** Multiplies the scores. Default: 1 / sqrt(D); T5 has 1. */
  scale?: number
}

/** `softmax(scale q k^T + bias) v` per head, without rotation. */
export class MemoryAttention extends Module {
  readonly q_proj: Linear // [H*D, hidden]
  readonly k_proj: Linear // [H*D, hidden]
  readonly v_proj: Linear // [H*D, hidden]
  readonly out_proj: Linear // [hidden, H*D]
  readonly numHeads: number
  readonly headDim: number
  readonly scale: number
  /** Of the probabilities by which values are mixed. */
  readonly dropout = new Dropout(0)
  readonly decodesStatically = false

  constructor({ hiddenSize, numHeads, headDim, bias = false, scale }: MemoryAttentionOptions) {
    super()
    const width = numHeads * headDim
    this.numHeads = numHeads
    this.headDim = headDim
    this.scale = scale ?? headDim ** -0.5
    this.q_proj = new Linear(hiddenSize, width, { bias, role: 'attention' })
    this.k_proj = new Linear(hiddenSize, width, { bias, role: 'attention' })
    this.v_proj = new Linear(hiddenSize, width, { bias, role: 'attention' })
    this.out_proj = new Linear(width, hiddenSize, { bias, role: 'attention' })
  }

  get cacheShape(): CacheShape {
    const shape = [this.numHeads, this.headDim] as const
    return { keys: shape, values: shape }
  }

  /** Over the tokens themselves: x [N, hidden] -> [N, hidden]. */
  forward(x: Tensor, { store = withinTokens, bias = null, ...input }: AttentionInput): Tensor {
    const { headDim, scale } = this
    const [queries, keys, values] = [this.q_proj, this.k_proj, this.v_proj].map(map => map.forward(x)) as [
      Tensor,
      Tensor,
      Tensor,
    ]
    const { dropout } = this
    const options = { ...input, headDim, scale, bias, dropout, sinks: null, latent: null }
    return this.out_proj.forward(store.attend(queries, keys, values, options))
  }

  /** What across() attends to: keys and values of sources [M, hidden]. */
  remember(sources: Tensor, starts: readonly number[]): SourceStore {
    return new SourceStore(this.k_proj.forward(sources), this.v_proj.forward(sources), starts)
  }

  /** Each sequence over its source: x [N, hidden] -> [N, hidden]. */
  across(x: Tensor, source: SourceStore, starts: readonly number[]): Tensor {
    const { headDim, scale, dropout } = this
    return this.out_proj.forward(source.attend(this.q_proj.forward(x), { starts, headDim, scale, dropout }))
  }
}

/** Keys and values of other sequences, one for each that reads or one for all: what a decoder reads of its encoder. */
export class SourceStore {
  readonly keys: Tensor // [M, H*D]
  readonly values: Tensor // [M, H*D]
  readonly #starts: readonly number[]

  constructor(keys: Tensor, values: Tensor, starts: readonly number[]) {
    this.keys = keys
    this.values = values
    this.#starts = starts
  }

  /** Every query of a sequence sees all of the sequence's source. */
  attend(
    queries: Tensor,
    { starts, headDim, scale, dropout }: Pick<AttendOptions, 'starts' | 'headDim' | 'scale' | 'dropout'>,
  ): Tensor {
    // Queries see nothing of each other: as many sequences as share a source are to it as one.
    const readers = this.#starts.length === 2 ? [0, queries.size(0)] : starts
    const isEven = [readers, this.#starts].every(each => rowsOf(each).length === 1)
    const [asked, sources] = [readers, this.#starts].map(isEven ? rowsOf : eachSequence) as [Rows[], Rows[]]
    const mixed = asked.map((rows, i) => {
      const source = sources[i] as Rows
      const [keys, values] = [this.keys, this.values].map(x => headsOf(x, source, headDim)) as [
        Tensor,
        Tensor,
      ]
      return rowsOfHeads(
        attend(headsOf(queries, rows, headDim), keys, values, { scale, dropout, blocked: null }),
      )
    })
    return mixed.length === 1 ? (mixed[0] as Tensor) : cat(mixed)
  }
}
