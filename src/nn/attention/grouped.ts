// Grouped-query self-attention (arXiv:2305.13245), with what published models vary.
// Shapes: N new tokens, H heads, G key/value heads, D head width.

import type { Tensor } from '../../torch/index.ts'
import { constant } from '../init.ts'
import { Linear } from '../linear.ts'
import { Module } from '../module.ts'
import { RMSNorm } from '../norm.ts'
import { Parameter } from '../parameter.ts'
import type { CacheShape } from './kv-store.ts'
import type { AttentionInput } from './self-attention.ts'
import { withinTokens } from './within-tokens.ts'

export interface AttentionOptions {
  hiddenSize: number
  numHeads: number
  /** Heads that keys and values have; default: as many as queries. */
  numKeyValueHeads?: number
  /** Default: hiddenSize / numHeads. */
  headDim?: number
  /** Biases: on all projections, or on all but the output's; default: none. */
  bias?: 'all' | 'inputs' | 'none'
  /** An RMS norm of queries and keys before they are rotated: of each head (Qwen3), or of all heads as one (OLMoE). */
  queryKeyNorm?: { of: 'head' | 'all heads'; eps: number }
  /** Bounds queries, keys and values to +-clip, after their norm (OLMoE). Default: no bound. */
  clip?: number | null
  /** Multiplies the scores. Default: 1 / sqrt(D). */
  scale?: number
  /** A learnt logit per head that takes attention from all positions (gpt-oss). Default: none. */
  sinks?: boolean
}

/** `softmax(scale q k^T) v` per head; each key/value head serves H / G query heads. */
export class Attention extends Module {
  readonly q_proj: Linear // [H*D, hidden]
  readonly k_proj: Linear // [G*D, hidden]
  readonly v_proj: Linear // [G*D, hidden]
  readonly o_proj: Linear // [hidden, H*D]
  readonly q_norm: RMSNorm | null
  readonly k_norm: RMSNorm | null
  readonly sinks: Parameter | null // [H]
  readonly headDim: number
  readonly flopsPerPosition: number
  readonly numKeyValueHeads: number
  readonly clip: number | null
  readonly scale: number

  constructor(options: AttentionOptions) {
    super()
    const { hiddenSize, numHeads, numKeyValueHeads = numHeads, bias = 'none', queryKeyNorm } = options
    this.headDim = options.headDim ?? hiddenSize / numHeads
    this.numKeyValueHeads = numKeyValueHeads
    this.flopsPerPosition = 4 * numHeads * this.headDim
    this.scale = options.scale ?? this.headDim ** -0.5
    this.clip = options.clip ?? null
    const [queries, keys] = [numHeads * this.headDim, numKeyValueHeads * this.headDim]
    const inputs = { bias: bias !== 'none', role: 'attention' } as const
    this.q_proj = new Linear(hiddenSize, queries, inputs)
    this.k_proj = new Linear(hiddenSize, keys, inputs)
    this.v_proj = new Linear(hiddenSize, keys, inputs)
    this.o_proj = new Linear(queries, hiddenSize, { bias: bias === 'all', role: 'attention' })
    const norm = (all: number): RMSNorm | null =>
      queryKeyNorm ? new RMSNorm(queryKeyNorm.of === 'head' ? this.headDim : all, queryKeyNorm.eps) : null
    this.q_norm = norm(queries)
    this.k_norm = norm(keys)
    this.sinks = options.sinks
      ? new Parameter({ shape: [numHeads], role: 'attention', init: constant(0) })
      : null
  }

  get cacheShape(): CacheShape {
    const shape = [this.numKeyValueHeads, this.headDim] as const
    return { keys: shape, values: shape }
  }

  get decodesStatically(): boolean {
    return this.sinks === null
  }

  /** x [N, hidden] -> [N, hidden] */
  forward(x: Tensor, { store = withinTokens, bias = null, ...input }: AttentionInput): Tensor {
    const bounded = (y: Tensor): Tensor => (this.clip === null ? y : y.clamp(-this.clip, this.clip))
    const queries = bounded(this.#normalized(this.q_proj.forward(x), this.q_norm)) // [N, H*D]
    const keys = bounded(this.#normalized(this.k_proj.forward(x), this.k_norm)) // [N, G*D]
    const values = bounded(this.v_proj.forward(x)) // [N, G*D]
    const { headDim, scale, sinks } = this
    const mixed = store.attend(queries, keys, values, { ...input, headDim, scale, sinks, bias, latent: null })
    return this.o_proj.forward(mixed)
  }

  /** [N, heads * D] -> [N, heads * D]; the norm's width says what it is a norm of. */
  #normalized(projected: Tensor, norm: RMSNorm | null): Tensor {
    if (norm === null) return projected
    return norm.forward(projected.view([projected.size(0), -1, norm.weight.size(0)])).flatten(1)
  }
}
