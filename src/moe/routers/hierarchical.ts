// Two levels: first a group, then an expert of the group (arXiv:1701.06538 appendix B).
// Shapes: T tokens, G groups, M experts per group, E = G M experts, A groups and B experts chosen.

import { ConfigError } from '../../errors.ts'
import { Linear, Module } from '../../nn/index.ts'
import { type Tensor, tidy, zeros } from '../../torch/index.ts'
import { type Router, type TokenContext, type TokenRouting, withoutPadding } from '../routing.ts'
import { checkTopK } from './linear.ts'
import { NoisyTopKRouter, squaredVariation } from './noisy-top-k.ts'

export interface HierarchicalRouterOptions {
  hiddenSize: number
  numExperts: number
  /** Groups G, which divide the experts. */
  groups: number
  /** Groups A of a token. Default 2. */
  topGroups?: number
  /** Experts B of a token in each of its groups. Default 2. */
  topK?: number
}

/**
 * `w_ij = g_i h_{j|i}`: noisy top-A over groups, and within each a noisy top-B over its experts. Its own losses, at both
 * levels: `primaryImportance`, `primaryLoad` of the groups, `importance` and `load` of the experts, `load_ij` being the
 * smooth load of group i times the share of its tokens that expert j gets, which keeps a gradient to the first gate.
 */
export class HierarchicalRouter extends Module implements Router {
  readonly primary: NoisyTopKRouter
  /** [E, D] and noise, as one map: the experts of group i are rows i M to (i + 1) M. */
  readonly secondary: Linear
  readonly numExperts: number
  readonly groups: number
  readonly topK: number
  readonly isCausal = true

  constructor({ hiddenSize, numExperts, groups, topGroups = 2, topK = 2 }: HierarchicalRouterOptions) {
    super()
    if (!Number.isInteger(groups) || groups < 1 || numExperts % groups !== 0) {
      throw new ConfigError(`must divide the ${numExperts} experts, got ${groups}`, { path: 'router.groups' })
    }
    checkTopK(topK, numExperts / groups)
    this.primary = new NoisyTopKRouter({ hiddenSize, numExperts: groups, topK: topGroups })
    this.secondary = new Linear(hiddenSize, numExperts, { bias: false })
    this.numExperts = numExperts
    this.groups = groups
    this.topK = topK
  }

  forward(xTD: Tensor, context: TokenContext = {}): TokenRouting {
    const routing = tidy((): TokenRouting => {
      const { mask = null } = context
      const first = this.primary.forward(xTD, context) // [T, A] of groups
      const logits = xTD.to(first.logits.dtype).matmul(this.secondary.weight.to(first.logits.dtype).t()) // [T, E]
      const within = logits.view([xTD.size(0), this.groups, this.numExperts / this.groups]).softmax(-1) // [T, G, M]
      const { indices, weights } = this.#chooseWithin(first, within)
      const probs = first.probs.unsqueeze(-1).mul(within).view(logits.shape)
      const losses = this.#losses(first, within, { indices, weights })
      return { kind: 'token', indices, weights, logits, probs, mask, losses }
    })
    return withoutPadding(routing)
  }

  /** The B best experts of each chosen group: [T, A*B]. */
  #chooseWithin(first: TokenRouting, within: Tensor): { indices: Tensor; weights: Tensor } {
    const [tokens, , members] = within.shape as [number, number, number]
    const groupTA = first.indices.clamp(0)
    const sharesTAM = within.gather(1, groupTA.unsqueeze(-1).expand([tokens, groupTA.size(1), members]))
    const memberTAB = sharesTAM.detach().sort(-1, true)[1].narrow(-1, 0, this.topK)
    const chosen = sharesTAM.gather(-1, memberTAB)
    const shares = chosen.div(chosen.sum(-1, true))
    const weights = first.weights.unsqueeze(-1).mul(shares)
    const indices = groupTA.unsqueeze(-1).mul(members).add(memberTAB)
    return { indices: indices.flatten(1), weights: weights.flatten(1) }
  }

  #losses(
    first: TokenRouting,
    within: Tensor,
    { indices, weights }: { indices: Tensor; weights: Tensor },
  ): Record<string, Tensor> {
    const [tokens, , members] = within.shape as [number, number, number]
    const real = first.mask === null ? null : first.mask.unsqueeze(-1).to(weights.dtype)
    const kept = real === null ? weights : weights.mul(real)
    const importance = zeros([tokens, this.numExperts], { dtype: weights.dtype, device: weights.device })
      .scatterAdd(-1, indices, kept)
      .sum(0) // [E]
    const groupLoad = zeros([tokens, this.groups], { dtype: weights.dtype, device: weights.device })
      .scatterAdd(-1, first.indices.clamp(0), first.weights)
      .sum(0) // [G]: the weight that reaches each group, which the first gate can change
    const share = importance.view([this.groups, members])
    const perGroup = share.sum(-1, true).clamp(1e-10) // an empty group has load 0, not NaN
    const load = groupLoad.unsqueeze(-1).mul(share.div(perGroup)).view([-1])
    return {
      primaryImportance: first.losses?.importance ?? squaredVariation(groupLoad),
      primaryLoad: first.losses?.load ?? squaredVariation(groupLoad),
      importance: squaredVariation(importance),
      load: squaredVariation(load),
    }
  }
}
