// Multi-head latent attention: keys and values of all heads from one small vector per position (DeepSeek-V2,
// arXiv:2405.04434 section 2.1).
// Shapes: N new tokens, M rows, H heads, R latent width, K key width without rotation, P rotated key width, V value width.

import { cat, type Tensor } from '../../torch/index.ts'
import { Linear } from '../linear.ts'
import { Module } from '../module.ts'
import { RMSNorm } from '../norm.ts'
import { halvesOfPairs, type Rotation } from '../rope.ts'
import type { CacheShape, LatentForm } from './kv-store.ts'
import type { AttentionInput } from './self-attention.ts'
import { rotateRows, withinTokens } from './within-tokens.ts'

export interface LatentAttentionOptions {
  hiddenSize: number
  numHeads: number
  /** Width of the queries' own latent vector; null: queries are projected directly. */
  queryRank: number | null
  /** R */
  keyValueRank: number
  /** K */
  plainDim: number
  /** P */
  rotaryDim: number
  /** V */
  valueDim: number
  /** Biases on the projections from and to the hidden states, but not on a direct one of queries. Default false. */
  bias?: boolean
  /** Default: 1 / sqrt(K + P). */
  scale?: number
  /** Whether rotated dimensions are paired side by side (DeepSeek), not in halves. Default true. */
  interleaved?: boolean
}

const latentEps = 1e-6 // of both latent norms, whatever the model's other norms have

/**
 * `c = norm(W_a h)` is all that a position keeps, beside one rotated key that all heads share; `[k; v] = W_b c`.
 *
 * For positions from a cache, `q^T W_k c` is computed as `(W_k^T q)^T c` and `sum p W_v c` as `W_v sum p c`, so that no
 * head's keys or values are ever written out: R + P numbers per position in place of H (K + P + V).
 */
export class LatentAttention extends Module implements LatentForm {
  readonly q_proj: Linear | null // [H * (K + P), hidden]
  readonly q_a_proj: Linear | null // [rank, hidden]
  readonly q_a_layernorm: RMSNorm | null
  readonly q_b_proj: Linear | null // [H * (K + P), rank]
  readonly kv_a_proj_with_mqa: Linear // [R + P, hidden]
  readonly kv_a_layernorm: RMSNorm
  readonly kv_b_proj: Linear // [H * (K + V), R]
  readonly o_proj: Linear // [hidden, H * V]
  readonly decodesStatically = false
  /** Products with maps of heads, [H, N, I] and [H, I, O]. May be changed at any time: see computeSteadily(). */
  product: (x: Tensor, maps: Tensor) => Tensor = (x, maps) => x.matmul(maps)
  readonly flopsPerPosition: number
  readonly #sizes: Required<LatentAttentionOptions>

  constructor(options: LatentAttentionOptions) {
    super()
    const { hiddenSize, numHeads, queryRank, keyValueRank, plainDim, rotaryDim, valueDim } = options
    const { bias = false, scale = (plainDim + rotaryDim) ** -0.5, interleaved = true } = options
    const queries = numHeads * (plainDim + rotaryDim)
    const [outer, inner] = [
      { bias, role: 'attention' },
      { bias: false, role: 'attention' },
    ] as const
    this.q_proj = queryRank === null ? new Linear(hiddenSize, queries, inner) : null
    this.q_a_proj = queryRank === null ? null : new Linear(hiddenSize, queryRank, outer)
    this.q_a_layernorm = queryRank === null ? null : new RMSNorm(queryRank, latentEps)
    this.q_b_proj = queryRank === null ? null : new Linear(queryRank, queries, inner)
    this.kv_a_proj_with_mqa = new Linear(hiddenSize, keyValueRank + rotaryDim, outer)
    this.kv_a_layernorm = new RMSNorm(keyValueRank, latentEps)
    this.kv_b_proj = new Linear(keyValueRank, numHeads * (plainDim + valueDim), {
      ...inner,
      encodable: false,
    })
    this.o_proj = new Linear(numHeads * valueDim, hiddenSize, outer)
    this.flopsPerPosition = 2 * numHeads * (plainDim + rotaryDim + valueDim)
    this.#sizes = { ...options, bias, scale, interleaved }
  }

  get cacheShape(): CacheShape {
    return { keys: [1, this.#sizes.keyValueRank + this.#sizes.rotaryDim], values: null }
  }

  get valueWidth(): number {
    return this.#sizes.keyValueRank
  }

  /** x [N, hidden] -> [N, hidden] */
  forward(x: Tensor, { store = withinTokens, bias = null, rotation, ...input }: AttentionInput): Tensor {
    const { keyValueRank, rotaryDim, plainDim, scale } = this.#sizes
    const compressed = this.kv_a_proj_with_mqa.forward(x) // [N, R + P]
    const latents = this.kv_a_layernorm.forward(compressed.narrow(-1, 0, keyValueRank)) // [N, R]
    const rotated = this.#turn(compressed.narrow(-1, keyValueRank, rotaryDim), rotation) // [N, P]
    const headDim = plainDim + rotaryDim
    const queries = this.#queries(x).view([x.size(0), -1, headDim]) // [N, H, K + P]
    const turned = this.#turn(queries.narrow(-1, plainDim, rotaryDim).flatten(1), rotation) // [N, H * P]
    const all = cat([queries.narrow(-1, 0, plainDim), turned.view([x.size(0), -1, rotaryDim])], -1)
    const mixed = store.attend(all.flatten(1), cat([latents, rotated], -1), null, {
      ...input,
      ...{ headDim, scale, bias, rotation: null, sinks: null, latent: this },
    })
    return this.o_proj.forward(mixed) // [N, H * V] -> [N, hidden]
  }

  #queries(x: Tensor): Tensor {
    if (this.q_proj) return this.q_proj.forward(x)
    const latent = (this.q_a_layernorm as RMSNorm).forward((this.q_a_proj as Linear).forward(x))
    return (this.q_b_proj as Linear).forward(latent)
  }

  /** [N, heads * P] -> [N, heads * P] */
  #turn(x: Tensor, rotation: Rotation | null): Tensor {
    const { interleaved, rotaryDim } = this.#sizes
    const perHead = x.view([x.size(0), -1, rotaryDim])
    return rotateRows((interleaved ? halvesOfPairs(perHead) : perHead).flatten(1), rotation, rotaryDim)
  }

  /** The plain reading of the paper, best where all positions are new. */
  expand(rows: Tensor): { keys: Tensor; values: Tensor } {
    const { numHeads, plainDim, valueDim, rotaryDim, keyValueRank } = this.#sizes
    const perHead = this.kv_b_proj
      .forward(rows.narrow(-1, 0, keyValueRank))
      .view([rows.size(0), numHeads, plainDim + valueDim]) // [M, H, K + V]
    const shared = rows.narrow(-1, keyValueRank, rotaryDim).unsqueeze(1) // [M, 1, P]
    const everyHead = shared.expand([rows.size(0), numHeads, rotaryDim])
    return {
      keys: cat([perHead.narrow(-1, 0, plainDim), everyHead], -1).flatten(1), // [M, H * (K + P)]
      values: perHead.narrow(-1, plainDim, valueDim).flatten(1), // [M, H * V]
    }
  }

  absorb(queries: Tensor): Tensor {
    const { plainDim, rotaryDim } = this.#sizes
    const perHead = queries.view([queries.size(0), -1, plainDim + rotaryDim]) // [N, H, K + P]
    const plain = perHead.narrow(-1, 0, plainDim).transpose(0, 1) // [H, N, K]
    const onLatents = this.product(plain, this.#maps.narrow(1, 0, plainDim)).transpose(0, 1) // [N, H, R]
    return cat([onLatents, perHead.narrow(-1, plainDim, rotaryDim)], -1).flatten(1)
  }

  release(mixed: Tensor): Tensor {
    const { plainDim, valueDim, keyValueRank } = this.#sizes
    const perHead = mixed.view([mixed.size(0), -1, keyValueRank]).transpose(0, 1) // [H, N, R]
    const maps = this.#maps.narrow(1, plainDim, valueDim).transpose(1, 2) // [H, R, V]
    return this.product(perHead, maps).transpose(0, 1).flatten(1) // [N, H * V]
  }

  /** [H, K + V, R] */
  get #maps(): Tensor {
    const { numHeads, plainDim, valueDim, keyValueRank } = this.#sizes
    return this.kv_b_proj.weight.view([numHeads, plainDim + valueDim, keyValueRank])
  }
}
