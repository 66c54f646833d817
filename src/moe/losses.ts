// Auxiliary losses: pure functions of routing data. They count padding nowhere.
// Shapes: T tokens, E experts, K chosen per token, L layers.

import { cat, noGrad, type Tensor, tensor, tidy } from '../torch/index.ts'
import { countPerExpert } from './dispatch/count.ts'
import type { TokenRouting } from './routing.ts'

/**
 * `E sum_i f_i P_i` with `f_i` the share of choices that fell on expert i and `P_i` the mean probability of i
 * (arXiv:2101.03961 equations 4-6, all K choices counted as in Megatron and OLMo-core). It is 1 when balanced,
 * whatever K. The gradient flows through P.
 */
export function switchBalanceLoss(routing: TokenRouting): Tensor {
  return tidy(() => {
    const counts = countPerExpert(routing)
    const total = Math.max(
      1,
      counts.reduce((sum, count) => sum + count, 0),
    )
    const share = tensor(counts.map(count => count / total)).to({
      dtype: routing.probs.dtype,
      device: routing.probs.device,
    })
    return share.mul(meanOverTokens(routing.probs, routing.mask)).sum().mul(counts.length)
  })
}

/**
 * The balance loss of HF transformers' Mixtral family: the router outputs of all layers as one long batch,
 * `E sum_k sum_i f_ik P_i`. It is K when balanced. `router_aux_loss_coef` in a config.json always means this one.
 * (transformers, models/mixtral/modeling_mixtral.py, load_balancing_loss_func.)
 */
export function hfBalanceLoss(layers: readonly TokenRouting[]): Tensor {
  return tidy(() => {
    const probs = cat(layers.map(layer => layer.probs)) // [L*T, E]
    const mask = layers[0]?.mask ? cat(layers.map(layer => layer.mask as Tensor)) : null
    const counts = sumCounts(layers.map(countPerExpert))
    const tokens = mask === null ? probs.size(0) : mask.sum().item()
    const share = tensor(counts.map(count => count / Math.max(1, tokens))).to({
      dtype: probs.dtype,
      device: probs.device,
    })
    return share.mul(meanOverTokens(probs, mask)).sum().mul(counts.length)
  })
}

/** `mean_t (logsumexp_i z_ti)^2`, which keeps router logits small (arXiv:2202.08906 equation 5). */
export function routerZLoss({ logits, mask }: TokenRouting): Tensor {
  return tidy(() => meanOverTokens(logits.logsumexp(-1, true).square(), mask).sum())
}

/** [T, n] -> [n], leaving padding out. */
function meanOverTokens(values: Tensor, mask: Tensor | null): Tensor {
  if (mask === null) return values.mean(0)
  const real = mask.to(values.dtype).unsqueeze(-1) // [T, 1]
  return values
    .mul(real)
    .sum(0)
    .div(noGrad(() => real.sum().clamp(1)))
}

function sumCounts(layers: readonly number[][]): number[] {
  return (layers[0] ?? []).map((_, e) => layers.reduce((sum, counts) => sum + (counts[e] ?? 0), 0))
}
