// DeepSeek-V2's router: the K most likely experts within a token's best groups.
// Shapes: T tokens, E experts, K chosen per token.

import type { Tensor } from '../../torch/index.ts'
import { checkGroups, withinBestGroups } from './groups.ts'
import { type Choice, checkTopK, LinearRouter, type LinearRouterOptions, largest } from './linear.ts'

export interface GroupLimitedRouterOptions extends LinearRouterOptions {
  topK: number
  /** Groups of experts, of which a token uses only `topGroups`. Default 1. */
  groups?: number
  /** Default: all groups. */
  topGroups?: number
  /** Multiplies the weights (`routed_scaling_factor`). Default 1. */
  scale?: number
}

/**
 * `p = softmax(x W^T)`; the K largest within the groups whose best expert is likeliest; `w = scale p`, not rescaled to
 * sum to one (arXiv:2405.04434 equations 20-22 and section 2.2.2). With one group it is plain greedy choice.
 */
export class GroupLimitedRouter extends LinearRouter {
  readonly topK: number
  readonly groups: number
  readonly topGroups: number
  readonly scale: number

  constructor(options: GroupLimitedRouterOptions) {
    super(options)
    const { topK, groups = 1, topGroups = groups, scale = 1, numExperts } = options
    checkGroups(numExperts, groups, topGroups)
    checkTopK(topK, (numExperts / groups) * topGroups)
    this.topK = topK
    this.groups = groups
    this.topGroups = topGroups
    this.scale = scale
  }

  get active(): number {
    return this.topK
  }

  protected override choose(logitsTE: Tensor): Choice {
    const probs = logitsTE.softmax(-1)
    const indices = largest(withinBestGroups(probs, this.groups, this.topGroups, 1), this.topK)
    return { indices, weights: probs.gather(-1, indices).mul(this.scale), probs }
  }
}
