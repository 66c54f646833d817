// Noisy top-k gating with importance and load losses (arXiv:1701.06538).
// Shapes: T tokens, D model, E experts, K chosen per token.

import { Parameter } from '../../nn/index.ts'
import { noGrad, randn, type Tensor, where, zeros } from '../../torch/index.ts'
import type { TokenContext } from '../routing.ts'
import { type Choice, checkTopK, LinearRouter, type LinearRouterOptions, largest } from './linear.ts'

export interface NoisyTopKRouterOptions extends LinearRouterOptions {
  topK: number
}

/**
 * `h = x W_g + n softplus(x W_noise)` with `n` standard normal in training and 0 otherwise; keep the K largest, softmax
 * over them (equations 3-5). Both maps start at zero: no signal, some noise (appendix A). Its own losses, each with
 * coefficient 0.1 in the paper: `importance`, the squared coefficient of variation of the summed weights (equation 7),
 * and `load`, that of the smooth estimate of how many tokens each expert gets (equations 8-11).
 */
export class NoisyTopKRouter extends LinearRouter {
  readonly noise_weight: Parameter // [E, D]
  readonly topK: number

  constructor({ topK, ...options }: NoisyTopKRouterOptions) {
    super(options)
    checkTopK(topK, options.numExperts)
    this.topK = topK
    noGrad(() => this.weight.zero_())
    this.noise_weight = new Parameter(zeros(this.weight.shape))
  }

  protected override choose(logitsTE: Tensor, { mask = null }: TokenContext, xTD: Tensor): Choice {
    const deviationTE = softplus(xTD.to(logitsTE.dtype).matmul(this.noise_weight.to(logitsTE.dtype).t())).add(
      1e-2,
    )
    const noisyTE = this.training ? logitsTE.add(noiseLike(logitsTE).mul(deviationTE)) : logitsTE
    const indices = largest(noisyTE, this.topK)
    const weights = noisyTE.gather(-1, indices).softmax(-1)
    const real = mask === null ? null : mask.unsqueeze(-1).to(logitsTE.dtype)
    const gatesTE = zeros(logitsTE.shape, { dtype: logitsTE.dtype, device: logitsTE.device }).scatter(
      -1,
      indices,
      weights,
    )
    const loadTE =
      this.topK < this.numExperts ? smoothLoad(logitsTE, noisyTE, deviationTE, this.topK) : gatesTE
    const total = (perToken: Tensor): Tensor => (real === null ? perToken : perToken.mul(real)).sum(0) // [E]
    const losses = {
      importance: squaredVariation(total(gatesTE)),
      load: squaredVariation(total(loadTE)),
    }
    return { indices, weights, probs: noisyTE.softmax(-1), losses }
  }
}

/**
 * [T, E]: the probability that an expert would be among the K if only its own noise were drawn anew, given the others:
 * `Phi((x W_g - threshold) / deviation)`, the threshold being the K-th largest of the others.
 */
export function smoothLoad(cleanTE: Tensor, noisyTE: Tensor, deviationTE: Tensor, topK: number): Tensor {
  const sorted = noisyTE.topk(topK + 1, -1)[0] // [T, K+1]
  const within = sorted.narrow(-1, topK, 1) // for those among the K: the one after them
  const outside = sorted.narrow(-1, topK - 1, 1) // for the others: the last of the K
  const threshold = where(noisyTE.ge(outside), within, outside)
  return cleanTE.sub(threshold).div(deviationTE).div(Math.SQRT2).erf().add(1).div(2)
}

/** `Var(v) / Mean(v)^2`, unbiased; 0 for one expert. */
export function squaredVariation(valuesE: Tensor): Tensor {
  if (valuesE.numel === 1) return valuesE.sum().mul(0)
  return valuesE.var().div(valuesE.mean().square().add(1e-10))
}

const softplus = (x: Tensor): Tensor => x.clamp(0).add(x.abs().neg().exp().log1p())

const noiseLike = (x: Tensor): Tensor => randn(x.shape, { dtype: x.dtype, device: x.device })
