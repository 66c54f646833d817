// Grouped-query causal self-attention (arXiv:2305.13245), with what published models vary.
// Shapes: B batch, T new positions, S positions attended to, H heads, G key/value heads, D head width.

import {
  arange,
  type Device,
  empty,
  fusedCausalAttention,
  hasKernel,
  noGrad,
  Parameter,
  type Tensor,
  tidy,
} from '../torch/index.ts'
import { attend } from './attend.ts'
import { constant } from './init.ts'
import { Linear } from './linear.ts'
import { Module } from './module.ts'
import { RMSNorm } from './norm.ts'
import { type Rotation, rotate } from './rope.ts'

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

/** Keys and values of earlier positions, to which attention appends. */
export interface KeyValueStore {
  /** Takes what attention keeps of the new positions [B, heads, T, width]; returns that of all positions. */
  append(keys: Tensor, values: Tensor): [keys: Tensor, values: Tensor]
  /** Takes one new position and attends to all of it, by a store that knows where each text ends: [B, H, 1, D] -> the same. */
  attend?(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    options: { scale: number; window: number | null },
  ): Tensor
}

/** What attention keeps of each position. */
export interface CacheShape {
  keys: [heads: number, width: number]
  values: [heads: number, width: number]
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

/** Attention of a decoder's layer. */
export type SelfAttention = Module & {
  /** x [B, T, hidden] -> [B, T, hidden] */
  forward(x: Tensor, input: AttentionInput): Tensor
  readonly cacheShape: CacheShape
}

/** Queries, keys and values of all heads, [B, T, heads * D] each. */
type Projected = readonly [queries: Tensor, keys: Tensor, values: Tensor]

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
  readonly numKeyValueHeads: number
  readonly clip: number | null
  readonly scale: number

  constructor(options: AttentionOptions) {
    super()
    const { hiddenSize, numHeads, numKeyValueHeads = numHeads, bias = 'none', queryKeyNorm } = options
    this.headDim = options.headDim ?? hiddenSize / numHeads
    this.numKeyValueHeads = numKeyValueHeads
    this.scale = options.scale ?? this.headDim ** -0.5
    this.clip = options.clip ?? null
    const [queries, keys] = [numHeads * this.headDim, numKeyValueHeads * this.headDim]
    const inputs = { bias: bias !== 'none' }
    this.q_proj = new Linear(hiddenSize, queries, inputs)
    this.k_proj = new Linear(hiddenSize, keys, inputs)
    this.v_proj = new Linear(hiddenSize, keys, inputs)
    this.o_proj = new Linear(queries, hiddenSize, { bias: bias === 'all' })
    const norm = (all: number): RMSNorm | null =>
      queryKeyNorm ? new RMSNorm(queryKeyNorm.of === 'head' ? this.headDim : all, queryKeyNorm.eps) : null
    this.q_norm = norm(queries)
    this.k_norm = norm(keys)
    this.sinks = options.sinks ? new Parameter(constant(empty([numHeads]), 0)) : null
  }

  get cacheShape(): CacheShape {
    const shape: [number, number] = [this.numKeyValueHeads, this.headDim]
    return { keys: shape, values: shape }
  }

  /** x [B, T, hidden] -> [B, T, hidden] */
  forward(x: Tensor, input: AttentionInput): Tensor {
    const projected = this.#project(x)
    return this.o_proj.forward(this.#fused(projected, input) ?? this.#reference(projected, input))
  }

  #project(x: Tensor): Projected {
    const bounded = (y: Tensor): Tensor => (this.clip === null ? y : y.clamp(-this.clip, this.clip))
    return [
      bounded(this.#normalized(this.q_proj.forward(x), this.q_norm)),
      bounded(this.#normalized(this.k_proj.forward(x), this.k_norm)),
      bounded(this.v_proj.forward(x)),
    ]
  }

  /** [B, T, heads * D] -> [B, T, heads * D]; the norm's width says what it is a norm of. */
  #normalized(projected: Tensor, norm: RMSNorm | null): Tensor {
    if (norm === null) return projected
    const [batch, length] = projected.shape as [number, number]
    return norm.forward(projected.view([batch, length, -1, norm.weight.size(0)])).flatten(2)
  }

  /** The kernel, for plain causal attention without a cache: [B, T, H * D]. */
  #fused([queries, keys, values]: Projected, { rotation, mask, cache }: AttentionInput): Tensor | null {
    const { cos, sin } = rotation
    const isPlain = mask.kind === 'causal' && !cache && cos.ndim === 2 && cos.size(1) === this.headDim
    if (!isPlain || this.sinks || !hasKernel('attention', queries, keys, values)) return null
    const relative = this.scale * this.headDim ** 0.5 // the kernel scales by 1 / sqrt(D)
    const scaled = relative === 1 ? queries : queries.mul(relative)
    return fusedCausalAttention(scaled, keys, values, cos, sin, this.headDim, mask.window)
  }

  #reference([q, k, v]: Projected, { rotation, mask, cache }: AttentionInput): Tensor {
    const queries = rotate(this.#heads(q), rotation) // [B, H, T, D]
    let keys = rotate(this.#heads(k), rotation) // [B, G, T, D]
    let values = this.#heads(v) // [B, G, T, D]
    if (cache?.attend && mask.kind === 'causal') {
      const { scale } = this
      return cache.attend(queries, keys, values, { scale, window: mask.window }).transpose(1, 2).flatten(2)
    }
    if (cache) [keys, values] = cache.append(keys, values) // [B, G, S, D]
    const { scale, sinks } = this
    const mixed = attend(queries, keys, values, { scale, blocked: blockedBy(mask, q), sinks }) // [B, H, T, D]
    return mixed.transpose(1, 2).flatten(2) // [B, T, H * D]
  }

  /** [B, T, heads * D] -> [B, heads, T, D] */
  #heads(projected: Tensor): Tensor {
    const [batch, length] = projected.shape as [number, number]
    return projected.view([batch, length, -1, this.headDim]).transpose(1, 2)
  }
}

/** A mask written out, for queries of x [B, T, ...] that follow nothing cached when it is causal. */
export function blockedBy(mask: AttentionMask, x: Tensor): Tensor | null {
  return mask.kind === 'blocked' ? mask.blocked : causalMask(x.size(1), { ...mask, device: x.device })
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
