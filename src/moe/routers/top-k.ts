// Top-k softmax router: each token picks its K best experts.
// Shapes: T tokens, D model, E experts, K chosen per token.

import { ConfigError } from '../../errors.ts'
import { atLeastF32, Linear, Module } from '../../nn/index.ts'
import { fullPrecision, fusedRoute, hasKernel, type Tensor, tidy } from '../../torch/index.ts'
import type { Router, TokenRouting } from '../routing.ts'

export interface TopKRouterOptions {
  hiddenSize: number
  numExperts: number
  /** Experts per token, 1 to numExperts. */
  topK: number
  /**
   * `softmax-topk` weighs an expert by its share among all experts (Switch, OLMoE, Qwen-MoE); `topk-softmax` by its
   * share among the chosen ones (Mixtral). With K = 1 the latter's weight is always 1, so that the router learns
   * nothing from the task. Default `softmax-topk`.
   */
  order?: 'softmax-topk' | 'topk-softmax'
  /** Rescale the K weights of `softmax-topk` to sum to one, which makes the two orders equal. Default true. */
  normalize?: boolean
}

/**
 * `p = softmax(x W^T)` in f32, keep the K largest: `w = p_topk`, or rescaled `w = p_topk / sum(p_topk)`
 * (arXiv:2101.03961 section 2.1 for K = 1). Rescaled, it equals `softmax(topk(x W^T))` of Mixtral (arXiv:2401.04088
 * section 2.1). Ties go to the lowest index.
 */
export class TopKRouter extends Module implements Router {
  readonly weight: Linear['weight'] // [E, D]
  readonly numExperts: number
  readonly topK: number
  readonly order: 'softmax-topk' | 'topk-softmax'
  readonly normalize: boolean

  constructor({ hiddenSize, numExperts, topK, order = 'softmax-topk', normalize = true }: TopKRouterOptions) {
    super()
    if (!Number.isInteger(topK) || topK < 1 || topK > numExperts) {
      throw new ConfigError(`must be in 1..${numExperts} (the number of experts), got ${topK}`, {
        path: 'router.k',
      })
    }
    this.weight = new Linear(hiddenSize, numExperts, { bias: false }).weight
    this.numExperts = numExperts
    this.topK = topK
    this.order = order
    this.normalize = normalize
  }

  forward(xTD: Tensor, mask: Tensor | null = null): TokenRouting {
    const routing = tidy(() => {
      // Mixed precision would round logits to bf16, and with them the choice (arXiv:2101.03961, "selective precision").
      const logits = fullPrecision(xTD.device, () => atLeastF32(xTD).matmul(atLeastF32(this.weight).t())) // [T, E]
      const [weights, indices, probs] = this.#choose(logits)
      return { kind: 'token' as const, indices, weights, logits, probs }
    })
    return maskPadding({ ...routing, mask })
  }

  #choose(logitsTE: Tensor): [weightsTK: Tensor, indicesTK: Tensor, probsTE: Tensor] {
    const normalize = this.normalize || this.order === 'topk-softmax' // equal, as the class says
    if (hasKernel('route', logitsTE)) return fusedRoute(logitsTE, this.topK, normalize)
    const probsTE = logitsTE.softmax(-1)
    // A stable sort, since libtorch's topk breaks ties arbitrarily.
    const indicesTK = probsTE.detach().sort(-1, true)[1].narrow(-1, 0, this.topK)
    return [this.#weigh(logitsTE, probsTE, indicesTK), indicesTK, probsTE]
  }

  #weigh(logitsTE: Tensor, probsTE: Tensor, indicesTK: Tensor): Tensor {
    if (this.order === 'topk-softmax') return logitsTE.gather(-1, indicesTK).softmax(-1)
    const chosenTK = probsTE.gather(-1, indicesTK)
    return this.normalize ? chosenTK.div(chosenTK.sum(-1, true)) : chosenTK
  }
}

/** Empties the slots of padding tokens. */
function maskPadding(routing: TokenRouting): TokenRouting {
  if (routing.mask === null) return routing
  const paddingT1 = routing.mask.logicalNot().unsqueeze(-1)
  return {
    ...routing,
    indices: routing.indices.maskedFill(paddingT1, -1),
    weights: routing.weights.maskedFill(paddingT1, 0),
  }
}
