// Losses on what a router computes, beside balance: small logits, decided tokens, experts that differ.
// Shapes: T tokens, D model, E experts, K chosen per token, G groups of experts.

import { noGrad, type Tensor, tensor, tidy } from '../../torch/index.ts'
import { countPerExpert } from '../dispatch/count.ts'
import type { TokenRouting } from '../routing.ts'
import { meanOverTokens } from './mean.ts'

/** `mean_t (logsumexp_i z_ti)^2`, which keeps router logits small (arXiv:2202.08906 equation 5). */
export function routerZLoss({ logits, mask }: Pick<TokenRouting, 'logits' | 'mask'>): Tensor {
  return tidy(() => meanOverTokens(logits.logsumexp([-1], true).square(), mask).sum())
}

/** Mean entropy of the tokens' probabilities, in nats: minimised, tokens decide; weighed negatively, they stay open. */
export function entropyLoss({ probs, mask }: Pick<TokenRouting, 'probs' | 'mask'>): Tensor {
  return tidy(() => {
    const perToken = probs.mul(probs.clamp(1e-30).log()).sum(-1, true).neg()
    return meanOverTokens(perToken, mask).sum()
  })
}

/**
 * Balance among groups of experts that lie on one device, `sum_g f_g P_g` with `f_g` the mean share of its experts times E
 * and `P_g` the sum of their probabilities (DeepSeekMoE, arXiv:2401.06066 equations 15-17): 1 when balanced.
 *
 * @param groups number of groups of consecutive experts
 */
export function deviceBalanceLoss(routing: TokenRouting, groups: number): Tensor {
  return tidy(() => {
    const counts = countPerExpert(routing)
    const total = Math.max(
      1,
      counts.reduce((sum, count) => sum + count, 0),
    )
    const { dtype, device } = routing.probs
    const shares = tensor(
      counts.map(count => (counts.length * count) / total),
      { dtype, device },
    )
    const f = shares.view([groups, -1]).mean(1) // [G]
    const p = meanOverTokens(routing.probs, routing.mask).view([groups, -1]).sum(1) // [G]
    return f.mul(p).sum()
  })
}

/**
 * Mean squared cosine between the outputs of different experts for the same token: 0 when orthogonal (arXiv:2505.22323).
 *
 * @param outputs [T, K, D]: what each chosen expert gave
 */
export function orthogonalityLoss(outputs: Tensor): Tensor {
  return tidy(() => {
    const [, chosen] = outputs.shape as [number, number]
    const unit = outputs.div(outputs.square().sum(-1, true).add(1e-12).sqrt())
    const cosines = unit.matmul(unit.transpose(1, 2)) // [T, K, K]
    const pairs = outputs.size(0) * chosen * (chosen - 1)
    const own = cosines.diagonal(0, 1, 2).square().sum()
    return cosines.square().sum().sub(own).div(Math.max(1, pairs))
  })
}

/**
 * Minus the variance over tokens of each expert's probability, averaged: minimised, experts tell tokens apart
 * (arXiv:2505.22323).
 */
export function varianceLoss({ probs, mask }: TokenRouting): Tensor {
  return tidy(() => {
    const mean = meanOverTokens(probs, mask)
    return meanOverTokens(probs.sub(mean).square(), mask).mean().neg()
  })
}

/**
 * The textbook's `sum_i (f_i - 1/E)^2` in the three forms in which it trains. As written `f` is a count, and has no
 * gradient.
 *
 * - `soft`: probabilities in place of counts. Even probabilities satisfy it while every token chooses one expert.
 * - `straight-through`: counts forward, the gradient of probabilities backward. `2/E` of the Switch loss's gradient.
 */
export function squaredBalanceLoss(routing: TokenRouting, form: 'soft' | 'straight-through'): Tensor {
  return tidy(() => {
    const { probs, mask } = routing
    const p = meanOverTokens(probs, mask) // [E]
    if (form === 'soft')
      return p
        .sub(1 / p.numel)
        .square()
        .sum()
    const counts = countPerExpert(routing)
    const total = Math.max(
      1,
      counts.reduce((sum, count) => sum + count, 0),
    )
    const f = tensor(
      counts.map(count => count / total),
      { dtype: p.dtype, device: p.device },
    )
    const through = noGrad(() => f.sub(p)).add(p) // f, with the gradient of p
    return through
      .sub(1 / p.numel)
      .square()
      .sum()
  })
}
