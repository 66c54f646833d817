// Top-k softmax router: each token picks its K best experts.
// Shapes: T tokens, D model, E experts, K chosen per token.

import { z } from 'zod'
import { kernelFor, type Tensor } from '../../torch/index.ts'
import { checkRate } from '../checks.ts'
import { dropExperts } from './expert-dropout.ts'
import { type Choice, checkTopK, LinearRouter, type LinearRouterOptions, largest } from './linear.ts'
import { count, jitter, type RouterRow } from './row.ts'

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
  /** In training, the rate at which whole experts are left out of a batch; see dropExperts(). Default 0. */
  expertDropout?: number | undefined
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
  readonly expertDropout: number

  constructor(options: TopKRouterOptions) {
    super(options)
    const { topK, order = 'softmax-topk', normalize = true, expertDropout = 0 } = options
    checkTopK(topK, options.numExperts)
    this.topK = topK
    this.order = order
    this.normalize = normalize
    this.expertDropout = checkRate(expertDropout, 'router.expertDropout')
  }

  get active(): number {
    return this.topK
  }

  protected override choose(allTE: Tensor): Choice {
    const logitsTE = this.#withoutDropped(allTE)
    const normalize = this.normalize || this.order === 'topk-softmax' // equal, as the class says
    const fused = kernelFor('route', logitsTE)?.(logitsTE, this.topK, normalize)
    if (fused) {
      const [weights, indices, probs] = fused
      return { weights, indices, probs }
    }
    const probs = logitsTE.softmax(-1)
    const indices = largest(probs, this.topK)
    return { weights: this.#weigh(logitsTE, probs, indices), indices, probs }
  }

  #withoutDropped(logitsTE: Tensor): Tensor {
    const rate = this.training ? this.expertDropout : 0
    return dropExperts(logitsTE, { rate, atLeast: this.topK })
  }

  #weigh(logitsTE: Tensor, probsTE: Tensor, indicesTK: Tensor): Tensor {
    if (this.order === 'topk-softmax') return logitsTE.gather(-1, indicesTK).softmax(-1)
    const chosenTK = probsTE.gather(-1, indicesTK)
    return this.normalize ? chosenTK.div(chosenTK.sum(-1, true)) : chosenTK
  }
}

const schema = z.strictObject({
  kind: z.literal('top-k'),
  k: count.default(2),
  /** Rescale the weights to sum to one. With k = 1 they must not be, or the router learns nothing. */
  normalize: z.boolean().default(true),
  jitter,
  expertDropout: z.number().min(0).lt(1).optional(),
})

/** `top-k` in recipes. */
export const topK: RouterRow<typeof schema> = {
  schema,
  router: TopKRouter,
  make: ({ k, ...config }, sizes) => new TopKRouter({ ...sizes, ...config, topK: k }),
  hasConstantWeight: ({ k, normalize }) => k === 1 && normalize,
}
