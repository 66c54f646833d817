// Multi-head latent attention: keys and values of all heads from one small vector per position (DeepSeek-V2,
// arXiv:2405.04434 section 2.1).
// Shapes: B batch, T new positions, S positions attended to, H heads, R latent width, N key width without rotation,
// P rotated key width, V value width.

import { cat, type Tensor } from '../torch/index.ts'
import { attend } from './attend.ts'
import { type AttentionInput, blockedBy, type CacheShape } from './attention.ts'
import { Linear } from './linear.ts'
import { Module } from './module.ts'
import { RMSNorm } from './norm.ts'
import { halvesOfPairs, rotate } from './rope.ts'

export interface LatentAttentionOptions {
  hiddenSize: number
  numHeads: number
  /** Width of the queries' own latent vector; null: queries are projected directly. */
  queryRank: number | null
  /** R */
  keyValueRank: number
  /** N */
  plainDim: number
  /** P */
  rotaryDim: number
  /** V */
  valueDim: number
  /** Biases on the projections from and to the hidden states, but not on a direct one of queries. Default false. */
  bias?: boolean
  /** Default: 1 / sqrt(N + P). */
  scale?: number
  /** Whether rotated dimensions are paired side by side (DeepSeek), not in halves. Default true. */
  interleaved?: boolean
}

const latentEps = 1e-6 // of both latent norms, whatever the model's other norms have

/**
 * `c = norm(W_a h)` is all that a position keeps, beside one rotated key that all heads share; `[k; v] = W_b c`.
 *
 * For positions from a cache, `q^T W_k c` is computed as `(W_k^T q)^T c` and `sum p W_v c` as `W_v sum p c`, so that no
 * head's keys or values are ever written out: R + P numbers per position in place of H (N + P + V).
 */
export class LatentAttention extends Module {
  readonly q_proj: Linear | null // [H * (N + P), hidden]
  readonly q_a_proj: Linear | null // [rank, hidden]
  readonly q_a_layernorm: RMSNorm | null
  readonly q_b_proj: Linear | null // [H * (N + P), rank]
  readonly kv_a_proj_with_mqa: Linear // [R + P, hidden]
  readonly kv_a_layernorm: RMSNorm
  readonly kv_b_proj: Linear // [H * (N + V), R]
  readonly o_proj: Linear // [hidden, H * V]
  readonly #sizes: Required<LatentAttentionOptions>

  constructor(options: LatentAttentionOptions) {
    super()
    const { hiddenSize, numHeads, queryRank, keyValueRank, plainDim, rotaryDim, valueDim } = options
    const { bias = false, scale = (plainDim + rotaryDim) ** -0.5, interleaved = true } = options
    const queries = numHeads * (plainDim + rotaryDim)
    const isDirect = queryRank === null
    this.q_proj = isDirect ? new Linear(hiddenSize, queries, { bias: false }) : null
    this.q_a_proj = isDirect ? null : new Linear(hiddenSize, queryRank, { bias })
    this.q_a_layernorm = isDirect ? null : new RMSNorm(queryRank, latentEps)
    this.q_b_proj = isDirect ? null : new Linear(queryRank, queries, { bias: false })
    this.kv_a_proj_with_mqa = new Linear(hiddenSize, keyValueRank + rotaryDim, { bias })
    this.kv_a_layernorm = new RMSNorm(keyValueRank, latentEps)
    this.kv_b_proj = new Linear(keyValueRank, numHeads * (plainDim + valueDim), { bias: false })
    this.o_proj = new Linear(numHeads * valueDim, hiddenSize, { bias })
    this.#sizes = { ...options, bias, scale, interleaved }
  }

  get cacheShape(): CacheShape {
    return { keys: [1, this.#sizes.keyValueRank], values: [1, this.#sizes.rotaryDim] }
  }

  /** x [B, T, hidden] -> [B, T, hidden] */
  forward(x: Tensor, { rotation, mask, cache }: AttentionInput): Tensor {
    const { keyValueRank, rotaryDim, plainDim } = this.#sizes
    const [batch, length] = x.shape as [number, number]
    const compressed = this.kv_a_proj_with_mqa.forward(x) // [B, T, R + P]
    let latents = this.kv_a_layernorm.forward(compressed.narrow(-1, 0, keyValueRank)).unsqueeze(1) // [B, 1, T, R]
    const queries = this.#queries(x)
      .view([batch, length, -1, plainDim + rotaryDim])
      .transpose(1, 2) // [B, H, T, N + P]
    const turn = (part: Tensor): Tensor =>
      rotate(this.#sizes.interleaved ? halvesOfPairs(part) : part, rotation)
    let rotated = turn(compressed.narrow(-1, keyValueRank, rotaryDim).unsqueeze(1)) // [B, 1, T, P]
    const plainQueries = queries.narrow(-1, 0, plainDim)
    const rotatedQueries = turn(queries.narrow(-1, plainDim, rotaryDim).contiguous())
    if (cache) [latents, rotated] = cache.append(latents, rotated) // [B, 1, S, ...]
    const mix = latents.size(2) > length ? this.#mixLatents : this.#mixHeads
    const mixed = mix.call(this, { plainQueries, rotatedQueries, latents, rotated }, blockedBy(mask, x)) // [B, H, T, V]
    return this.o_proj.forward(mixed.transpose(1, 2).flatten(2))
  }

  #queries(x: Tensor): Tensor {
    if (this.q_proj) return this.q_proj.forward(x)
    const latent = (this.q_a_layernorm as RMSNorm).forward((this.q_a_proj as Linear).forward(x))
    return (this.q_b_proj as Linear).forward(latent)
  }

  /** Every head's keys and values written out: the plain reading of the paper, best where all positions are new. */
  #mixHeads({ plainQueries, rotatedQueries, latents, rotated }: Attended, blocked: Tensor | null): Tensor {
    const { numHeads, plainDim, valueDim, rotaryDim, scale } = this.#sizes
    const [batch, , positions] = latents.shape as [number, number, number]
    const perHead = this.kv_b_proj
      .forward(latents.squeeze(1))
      .view([batch, positions, numHeads, plainDim + valueDim])
      .transpose(1, 2) // [B, H, S, N + V]
    const shared = rotated.expand([batch, numHeads, positions, rotaryDim])
    const keys = cat([perHead.narrow(-1, 0, plainDim), shared], -1) // [B, H, S, N + P]
    const values = perHead.narrow(-1, plainDim, valueDim) // [B, H, S, V]
    return attend(cat([plainQueries, rotatedQueries], -1), keys, values, { scale, blocked })
  }

  /** The same with both maps of a head moved to its query and its output. */
  #mixLatents({ plainQueries, rotatedQueries, latents, rotated }: Attended, blocked: Tensor | null): Tensor {
    const { numHeads, plainDim, valueDim, keyValueRank, scale } = this.#sizes
    const maps = this.kv_b_proj.weight.view([numHeads, plainDim + valueDim, keyValueRank])
    const keyMaps = maps.narrow(1, 0, plainDim) // [H, N, R]
    const valueMaps = maps.narrow(1, plainDim, valueDim) // [H, V, R]
    const queries = cat([plainQueries.matmul(keyMaps), rotatedQueries], -1) // [B, H, T, R + P]
    const mixed = attend(queries, cat([latents, rotated], -1), latents, { scale, blocked }) // [B, H, T, R]
    return mixed.matmul(valueMaps.transpose(1, 2)) // [B, H, T, V]
  }
}

interface Attended {
  plainQueries: Tensor // [B, H, T, N]
  rotatedQueries: Tensor // [B, H, T, P]
  latents: Tensor // [B, 1, S, R]
  rotated: Tensor // [B, 1, S, P]
}
