// Grouped-query causal self-attention (arXiv:2305.13245).
// Shapes: B batch, T new positions, S positions attended to, H heads, G key/value heads, D head width.

import {
  arange,
  type Device,
  fusedCausalAttention,
  hasKernel,
  noGrad,
  type Tensor,
  tidy,
} from '../torch/index.ts'
import { Linear } from './linear.ts'
import { Module } from './module.ts'
import { atLeastF32 } from './precision.ts'
import { type Rotation, rotate } from './rope.ts'

/** Below every score, above -inf: a row that may attend to nothing stays finite. */
const blockedScore = -1e30

export interface AttentionOptions {
  hiddenSize: number
  numHeads: number
  /** Heads that keys and values have; default: as many as queries. */
  numKeyValueHeads?: number
  /** Default: hiddenSize / numHeads. */
  headDim?: number
  /** Biases on the q, k, v projections and on the output; default: none. */
  bias?: boolean
}

/** Keys and values of earlier positions, to which attention appends. */
export interface KeyValueStore {
  /** Takes the new positions' k and v [B, G, T, D]; returns those of all positions [B, G, S, D]. */
  append(keys: Tensor, values: Tensor): [keys: Tensor, values: Tensor]
}

/** Where a query may look. */
export type AttentionMask =
  /** At itself and what is before it; of that at the last `window` positions, if there is a window. */
  | { kind: 'causal'; window: number | null }
  /** Wherever `blocked` is false: [T, S] or [B, 1, T, S]; null blocks nothing. See causalMask(). */
  | { kind: 'blocked'; blocked: Tensor | null }

export interface AttentionInput {
  rotation: Rotation
  mask: AttentionMask
  cache?: KeyValueStore | undefined
}

/** Queries, keys and values of all heads, [B, T, heads * D] each. */
type Projected = readonly [queries: Tensor, keys: Tensor, values: Tensor]

/** `softmax(q k^T / sqrt(D)) v` per head; each key/value head serves H / G query heads. */
export class Attention extends Module {
  readonly q_proj: Linear // [H*D, hidden]
  readonly k_proj: Linear // [G*D, hidden]
  readonly v_proj: Linear // [G*D, hidden]
  readonly o_proj: Linear // [hidden, H*D]
  readonly headDim: number
  readonly numKeyValueHeads: number

  constructor({
    hiddenSize,
    numHeads,
    numKeyValueHeads = numHeads,
    headDim,
    bias = false,
  }: AttentionOptions) {
    super()
    this.headDim = headDim ?? hiddenSize / numHeads
    this.numKeyValueHeads = numKeyValueHeads
    this.q_proj = new Linear(hiddenSize, numHeads * this.headDim, { bias })
    this.k_proj = new Linear(hiddenSize, numKeyValueHeads * this.headDim, { bias })
    this.v_proj = new Linear(hiddenSize, numKeyValueHeads * this.headDim, { bias })
    this.o_proj = new Linear(numHeads * this.headDim, hiddenSize, { bias })
  }

  /** x [B, T, hidden] -> [B, T, hidden] */
  forward(x: Tensor, input: AttentionInput): Tensor {
    const projected = [this.q_proj.forward(x), this.k_proj.forward(x), this.v_proj.forward(x)] as const // [B, T, heads * D]
    return this.o_proj.forward(this.#fused(projected, input) ?? this.#reference(projected, input))
  }

  /** The kernel, for plain causal attention without a cache: [B, T, H * D]. */
  #fused([queries, keys, values]: Projected, { rotation, mask, cache }: AttentionInput): Tensor | null {
    const isPlain = mask.kind === 'causal' && !cache && rotation.cos.ndim === 2
    if (!isPlain || !hasKernel('attention', queries, keys, values)) return null
    return fusedCausalAttention(queries, keys, values, rotation.cos, rotation.sin, this.headDim, mask.window)
  }

  #reference([q, k, v]: Projected, { rotation, mask, cache }: AttentionInput): Tensor {
    const queries = rotate(this.#heads(q), rotation) // [B, H, T, D]
    let keys = rotate(this.#heads(k), rotation) // [B, G, T, D]
    let values = this.#heads(v) // [B, G, T, D]
    if (cache) [keys, values] = cache.append(keys, values) // [B, G, S, D]
    const blocked =
      mask.kind === 'blocked' ? mask.blocked : causalMask(q.size(1), { ...mask, device: q.device })
    return this.#attend(queries, keys, values, blocked).transpose(1, 2).flatten(2) // [B, T, H * D]
  }

  /** [B, T, heads * D] -> [B, heads, T, D] */
  #heads(projected: Tensor): Tensor {
    const [batch, length] = projected.shape as [number, number]
    return projected.view([batch, length, -1, this.headDim]).transpose(1, 2)
  }

  #attend(queries: Tensor, keys: Tensor, values: Tensor, blocked: Tensor | null): Tensor {
    const [batch, heads, length, width] = queries.shape as [number, number, number, number]
    const groups = this.numKeyValueHeads
    const perGroup = (heads / groups) * length
    // Query heads of one group stack as rows against their shared keys: keys are never repeated.
    const stacked = queries.mul(width ** -0.5).reshape([batch, groups, perGroup, width]) // [B, G, H/G * T, D]
    const scores = atLeastF32(stacked.matmul(keys.transpose(2, 3)).view([batch, heads, length, -1])) // [B, H, T, S]
    const seen = blocked ? scores.maskedFill_(blocked, blockedScore) : scores
    const probs = seen.softmax(-1).to(values.dtype) // [B, H, T, S]
    const mixed = probs.view([batch, groups, perGroup, -1]).matmul(values) // [B, G, H/G * T, D]
    return mixed.view([batch, heads, length, width])
  }
}

export interface CausalMaskOptions {
  /** Positions in the cache before the new ones; default 0. */
  past?: number
  /** Attend to the last `window` positions only (`i - j < window`); default: to all. */
  window?: number | null
  device?: Device
}

/** [T, past + T], true where position j is later than i, or out of i's window. Null when nothing is blocked. */
export function causalMask(
  length: number,
  { past = 0, window = null, device = 'cpu' }: CausalMaskOptions = {},
): Tensor | null {
  const total = past + length
  if (length === 1 && (window === null || total <= window)) return null
  return noGrad(() =>
    tidy(() => {
      const rows = arange(past, total, 1, { device }).unsqueeze(1) // [T, 1]
      const columns = arange(0, total, 1, { device }) // [S]
      const future = columns.gt(rows) // [T, S]
      return window === null ? future : future.logicalOr(rows.sub(columns).ge(window))
    }),
  )
}
