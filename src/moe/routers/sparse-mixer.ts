// SparseMixer's top-2 as Phi-3.5-MoE has it: each expert counts by its share among those that come close to it.
// Shapes: T tokens, E experts.

import { ConfigError } from '../../errors.ts'
import { cat, type Tensor, where } from '../../torch/index.ts'
import { type Choice, LinearRouter, type LinearRouterOptions, largest } from './linear.ts'

export interface SparseMixerRouterOptions extends LinearRouterOptions {
  /** Experts within twice this relative distance of the best are close (`router_jitter_noise`, 0.01). Default 0.01. */
  closeness?: number
}

/**
 * First choice: `m = max_j z_j`; the weight is `softmax(z)` over the `j` with `(m - z_j) / max(|z_j|, m) <= 2 c`. Second
 * choice: the same without the first. The two weights are not rescaled to sum to one (arXiv:2409.12136 section 3;
 * transformers, models/phimoe/modeling_phimoe.py, `sparsemixer` in evaluation).
 *
 * Training follows this rule too, with the gradient of the weights; the paper's sampling and gradient estimator are not
 * applied.
 */
export class SparseMixerRouter extends LinearRouter {
  readonly closeness: number

  constructor({ closeness = 0.01, ...options }: SparseMixerRouterOptions) {
    super(options)
    if (options.numExperts < 2)
      throw new ConfigError(`needs at least 2 experts, got ${options.numExperts}`, { path: 'router' })
    this.closeness = closeness
  }

  get active(): number {
    return 2
  }

  protected override choose(logitsTE: Tensor): Choice {
    const first = largest(logitsTE, 1) // [T, 1]
    const others = logitsTE.scatter(-1, first, -Infinity)
    const second = largest(others, 1)
    const weights = cat([this.#share(logitsTE, logitsTE, first), this.#share(logitsTE, others, second)], -1)
    return { indices: cat([first, second], -1), weights, probs: logitsTE.softmax(-1) }
  }

  /** `[T, 1]`: the chosen expert's share among the candidates that come close to it. */
  #share(logitsTE: Tensor, candidatesTE: Tensor, chosenT1: Tensor): Tensor {
    const scores = logitsTE.detach()
    const best = scores.gather(-1, chosenT1) // [T, 1]
    const size = where(scores.abs().gt(best), scores.abs(), best)
    const far = best
      .sub(scores)
      .div(size)
      .gt(2 * this.closeness)
    return candidatesTE.maskedFill(far, -Infinity).softmax(-1).gather(-1, chosenT1)
  }
}
