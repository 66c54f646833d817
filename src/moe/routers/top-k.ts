// Top-k softmax router: each token picks its K best experts.
// Shapes: T tokens, D model, E experts, K chosen per token.

import { fusedRoute, hasKernel, type Tensor } from '../../torch/index.ts'
import { type Choice, checkTopK, LinearRouter, type LinearRouterOptions, largest } from './linear.ts'

export interface TopKRouterOptions extends LinearRouterOptions {
  /** Experts per token, 1 to numExperts; with numExperts this is the dense mixture, all experts on. */
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
export class TopKRouter extends LinearRouter {
  readonly topK: number
  readonly order: 'softmax-topk' | 'topk-softmax'
  readonly normalize: boolean

  constructor({ topK, order = 'softmax-topk', normalize = true, ...options }: TopKRouterOptions) {
    super(options)
    checkTopK(topK, options.numExperts)
    this.topK = topK
    this.order = order
    this.normalize = normalize
  }

  protected override choose(logitsTE: Tensor): Choice {
    const normalize = this.normalize || this.order === 'topk-softmax' // equal, as the class says
    if (hasKernel('route', logitsTE)) {
      const [weights, indices, probs] = fusedRoute(logitsTE, this.topK, normalize)
      return { weights, indices, probs }
    }
    const probs = logitsTE.softmax(-1)
    const indices = largest(probs, this.topK)
    return { weights: this.#weigh(logitsTE, probs, indices), indices, probs }
  }

  #weigh(logitsTE: Tensor, probsTE: Tensor, indicesTK: Tensor): Tensor {
    if (this.order === 'topk-softmax') return logitsTE.gather(-1, indicesTK).softmax(-1)
    const chosenTK = probsTE.gather(-1, indicesTK)
    return this.normalize ? chosenTK.div(chosenTK.sum(-1, true)) : chosenTK
  }
}
