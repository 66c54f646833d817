// PEER: retrieval of single-neuron experts out of up to a million (arXiv:2407.04153).
// Shapes: T tokens, D model, N = n^2 experts, h heads, k experts per head, G = h k, d query width.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import {
  type Activation,
  activate,
  atLeastF32,
  Linear,
  Module,
  normal,
  Parameter,
  uniform,
} from '../../nn/index.ts'
import { embedding, fullPrecision, linear, type Tensor, tidy } from '../../torch/index.ts'
import { checkWhole } from '../checks.ts'
import type { LayerContext, MoeOutput } from '../layer.ts'
import { type PeerRouting, withoutPaddedHeads } from '../routing/peer.ts'
import { MaskedBatchNorm } from './batch-norm.ts'
import { matchProductKeys } from './product-keys.ts'

export interface PeerOptions {
  hiddenSize: number
  /** N: a square, at most 2^20. */
  numExperts: number
  /** Independent retrievals of each token. Default 8. */
  heads?: number
  /** Experts of each head, 1 to sqrt(N). Default 16. */
  topK?: number
  /** Width d of each head's query, even. Default 128. */
  querySize?: number
  /** How the k scores become weights. Default softmax; with relu an expert of negative score is off. */
  gate?: PeerGate
  /** Default gelu. */
  activation?: Activation
  /** Batch-normalise queries, which spreads the use of experts (arXiv:2407.04153). Default true. */
  queryNorm?: boolean
}

export type PeerGate = 'softmax' | 'relu'

/** `peer` in recipes: PeerOptions, checked. */
export const peerSchema = z.strictObject({
  kind: z.literal('peer'),
  heads: z.int().positive().default(8),
  k: z.int().positive().default(16),
  querySize: z.int().positive().default(128),
  gate: z.enum(['softmax', 'relu']).default('softmax'),
  queryNorm: z.boolean().default(true),
})

/**
 * `y = sum_heads sum_{e in top-k} g_e act(u_e.x) v_e` with `g = softmax(scores of the k)`, where expert `e = i n + j`
 * scores `q1.c_i + q2.c'_j` for the halves q1, q2 of a head's query (arXiv:2407.04153 algorithm 1).
 * All heads share experts and sub-keys. A token costs `2 n d h + h k^2 + 2 G D` multiplications or so, whatever N.
 *
 * Memory: 2 N D weights, dense gradients of the same size, and `2 T G D` gathered rows, which training keeps for
 * backward. With topK = 1 and softmax every weight is 1, so that queries and sub-keys learn nothing from the task.
 */
export class PeerLayer extends Module {
  readonly query: Linear // [h d, D]
  readonly query_norm: MaskedBatchNorm | null
  readonly sub_keys: Parameter // [2, n, d/2]
  readonly input_weights: Parameter // u: [N, D]
  readonly output_weights: Parameter // v: [N, D]
  readonly numExperts: number
  readonly heads: number
  readonly topK: number
  readonly gate: PeerGate
  readonly activation: Activation

  constructor(options: PeerOptions) {
    super()
    const { hiddenSize, numExperts, heads, topK, querySize, gate, activation, queryNorm } =
      withDefaults(options)
    checkPeerSizes({ numExperts, heads, topK, querySize })
    this.query = new Linear(hiddenSize, heads * querySize, { bias: false, role: 'router' })
    this.query_norm = queryNorm ? new MaskedBatchNorm(heads * querySize) : null
    this.sub_keys = new Parameter({
      shape: [2, Math.sqrt(numExperts), querySize / 2],
      role: 'router',
      init: normal(0.02),
    })
    // As the two matrices of a network with one hidden neuron for each head.
    const neurons = { shape: [numExperts, hiddenSize], role: 'experts' } as const
    this.input_weights = new Parameter({ ...neurons, init: uniform(1 / Math.sqrt(hiddenSize)) })
    this.output_weights = new Parameter({ ...neurons, init: uniform(1 / Math.sqrt(heads)) })
    this.numExperts = numExperts
    this.heads = heads
    this.topK = topK
    this.gate = gate
    this.activation = activation
  }

  /** x [..., D]; `mask` is bool [...], false for padding, which comes out as zero. */
  forward(x: Tensor, { mask = null }: Pick<LayerContext, 'mask'> = {}): MoeOutput<PeerRouting> {
    const xTD = x.reshape([-1, x.size(-1)])
    const routing = this.retrieve(xTD, mask?.reshape([-1]) ?? null)
    return { y: this.#mixture(xTD, routing).view(x.shape), routing, served: routing }
  }

  /**
   * @param xTD [T, D]
   * @param mask bool [T], false for padding
   */
  retrieve(xTD: Tensor, mask: Tensor | null = null): PeerRouting {
    return tidy(() => {
      const { scores, indices } = matchProductKeys(...this.scores(xTD, mask), this.topK)
      const weights = gateScores(scores, this.gate)
      return withoutPaddedHeads({ kind: 'peer', indices, weights, numExperts: this.numExperts }, mask)
    })
  }

  /** Elements of neurons that one token does not retrieve. */
  get inactiveParameters(): number {
    const { numExperts, heads, topK, input_weights, output_weights } = this
    const idle = numExperts - Math.min(numExperts, heads * topK)
    return ((input_weights.numel + output_weights.numel) * idle) / numExperts
  }

  /** Scores of all sub-keys by each head's query, in f32 or wider: [T, h, n] for each half. */
  scores(xTD: Tensor, mask: Tensor | null = null): [first: Tensor, second: Tensor] {
    return fullPrecision(xTD.device, () => {
      const flat = linear(atLeastF32(xTD), atLeastF32(this.query.weight))
      const normed = this.query_norm?.forward(flat, mask) ?? flat
      const halves = normed.view([xTD.size(0), this.heads, 2, this.sub_keys.size(-1)]) // [T, h, 2, d/2]
      const [first, second] = atLeastF32(this.sub_keys).unbind() as [Tensor, Tensor] // [n, d/2] each
      return [linear(halves.select(2, 0), first), linear(halves.select(2, 1), second)]
    })
  }

  /** The retrieved neurons of each token, weighted: [T, D] -> [T, D]. */
  #mixture(xTD: Tensor, { indices, weights }: PeerRouting): Tensor {
    const slotsTG = indices.clamp(0).flatten(1) // padding reads expert 0, with weight 0
    const inputs = embedding(this.input_weights, slotsTG) // [T, G, D]
    const outputs = embedding(this.output_weights, slotsTG) // [T, G, D]
    const hiddenTG = activate(inputs.matmul(xTD.unsqueeze(-1)).squeeze(-1), this.activation)
    const weightedTG = hiddenTG.mul(weights.flatten(1).to(hiddenTG.dtype))
    return weightedTG.unsqueeze(1).matmul(outputs).squeeze(1) // [T, 1, G] x [T, G, D]
  }
}

/** [..., k] -> [..., k] */
export function gateScores(scores: Tensor, gate: PeerGate): Tensor {
  switch (gate) {
    case 'softmax':
      return scores.softmax(-1)
    case 'relu':
      return scores.relu()
    default:
      throw new ConfigError(`'${gate satisfies never}' is none of softmax, relu`, { path: 'peer.gate' })
  }
}

function withDefaults(options: PeerOptions): Required<PeerOptions> {
  const {
    heads = 8,
    topK = 16,
    querySize = 128,
    gate = 'softmax',
    activation = 'gelu',
    queryNorm = true,
  } = options
  return { ...options, heads, topK, querySize, gate, activation, queryNorm }
}

type PeerSizes = Pick<Required<PeerOptions>, 'numExperts' | 'heads' | 'topK' | 'querySize'>

/**
 * Refuses sizes that cannot be.
 *
 * @param path of a size in errors, by its name
 * @throws ConfigError
 */
export function checkPeerSizes(
  { numExperts, heads, topK, querySize }: PeerSizes,
  path = (name: keyof PeerSizes): string => `peer.${name}`,
): void {
  checkWhole(numExperts, 1, path('numExperts'))
  checkWhole(heads, 1, path('heads'))
  const perHalf = Math.sqrt(numExperts)
  if (!Number.isInteger(perHalf) || numExperts > 2 ** 20) {
    const nearest = Math.min(1024, Math.round(perHalf)) ** 2
    throw new ConfigError(`must be a square up to 2^20, got ${numExperts}; the nearest is ${nearest}`, {
      path: path('numExperts'),
    })
  }
  if (!Number.isInteger(topK) || topK < 1 || topK > perHalf) {
    throw new ConfigError(`must be in 1..${perHalf} (the sub-keys of each half), got ${topK}`, {
      path: path('topK'),
    })
  }
  checkWhole(querySize, 2, path('querySize'))
  if (querySize % 2 !== 0) {
    throw new ConfigError(`must be even, for its two halves, got ${querySize}`, { path: path('querySize') })
  }
}
