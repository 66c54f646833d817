// Noisy top-k gating with importance and load losses (arXiv:1701.06538).
// Shapes: T tokens, D model, E experts, K chosen per token.

import { z } from 'zod'
import { constant, Parameter } from '../../nn/index.ts'
import { onesLike, randn, type Tensor, where, zerosLike } from '../../torch/index.ts'
import { overBatch } from '../routing/over-batch.ts'
import { type Choice, checkTopK, LinearRouter, type LinearRouterOptions, largest } from './linear.ts'
import type { TokenContext } from './router.ts'
import { count, isAlone, type RouterRow } from './row.ts'

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
    super({ ...options, init: constant(0) })
    checkTopK(topK, options.numExperts)
    this.topK = topK
    this.noise_weight = new Parameter(this.weight.declaration)
  }

  get active(): number {
    return this.topK
  }

  protected override choose(logitsTE: Tensor, { mask = null }: TokenContext, xTD: Tensor): Choice {
    const { noisy, deviation } = withNoise(logitsTE, xTD, this.noise_weight, this.training)
    const indices = largest(noisy, this.topK)
    const weights = noisy.gather(-1, indices).softmax(-1)
    const gatesTE = zerosLike(logitsTE).scatter(-1, indices, weights)
    const losses = {
      importance: squaredVariation(sumOverTokens(gatesTE, mask)),
      load: squaredVariation(sumOverTokens(smoothLoad(logitsTE, noisy, deviation, this.topK), mask)),
    }
    return { indices, weights, probs: noisy.softmax(-1), losses }
  }
}

/** The logits with noise of learnt size in training; the size is that of `softplus(x W_noise)`. */
export function withNoise(
  logitsTE: Tensor,
  xTD: Tensor,
  noiseWeight: Tensor,
  training: boolean,
): { noisy: Tensor; deviation: Tensor } {
  const deviation = softplus(xTD.matmul(noiseWeight.to(xTD.dtype).t())).add(1e-2) // [T, E]
  return { deviation, noisy: training ? logitsTE.add(noiseLike(logitsTE).mul(deviation)) : logitsTE }
}

/** [T, ...] -> [...], padding left out. */
export function sumOverTokens(perToken: Tensor, mask: Tensor | null): Tensor {
  if (mask === null) return overBatch.sum(perToken.sum(0))
  const real = mask.view([-1, ...perToken.shape.slice(1).map(() => 1)])
  return overBatch.sum(perToken.mul(real.to(perToken.dtype)).sum(0))
}

/**
 * `[T, E]`: the probability that an expert would be among the K if only its own noise were drawn anew, given the others:
 * `Phi((x W_g - threshold) / deviation)`, the threshold being the K-th largest of the others. 1 when all are chosen.
 */
export function smoothLoad(cleanTE: Tensor, noisyTE: Tensor, deviationTE: Tensor, topK: number): Tensor {
  if (topK >= noisyTE.size(-1)) return onesLike(noisyTE)
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

const schema = z.strictObject({ kind: z.literal('noisy-top-k'), k: count.default(2) })

/** `noisy-top-k` in recipes. */
export const noisyTopK: RouterRow<typeof schema> = {
  schema,
  router: NoisyTopKRouter,
  make: ({ k }, sizes) => new NoisyTopKRouter({ ...sizes, topK: k }),
  ownLosses: { importance: 0.1, load: 0.1 },
  hasConstantWeight: isAlone,
}
