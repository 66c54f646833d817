// AdamW's step written out, which the kernels are held to.

import {
  foreachAdd_,
  foreachAddcdiv_,
  foreachAddcmul_,
  foreachMul_,
  foreachSqrt,
  type Tensor,
} from '../../torch/index.ts'

export interface Lists {
  values: Tensor[]
  gradients: Tensor[]
  means: Tensor[]
  squares: Tensor[]
}

export interface Rates {
  learningRate: number
  betas: readonly [number, number]
  epsilon: number
  weightDecay: number
  updateClip: number | null
  step: number
  /** Of gradients. */
  factor: number
}

/** The formula of AdamW, an operator at a time. */
export function referenceStep({ values, gradients, means, squares }: Lists, rates: Rates): void {
  const { learningRate, betas, epsilon, weightDecay, step, factor, updateClip } = rates
  const scaled = factor === 1 ? gradients : gradients.map(gradient => gradient.mul(factor))
  if (weightDecay !== 0) foreachMul_(values, 1 - learningRate * weightDecay)
  foreachMul_(means, betas[0])
  foreachAdd_(means, scaled, 1 - betas[0])
  foreachMul_(squares, betas[1])
  foreachAddcmul_(squares, scaled, scaled, 1 - betas[1])
  const divisors = foreachSqrt(squares)
  foreachMul_(divisors, 1 / Math.sqrt(1 - betas[1] ** step))
  for (const divisor of divisors) divisor.add_(epsilon)
  const unbiased = 1 - betas[0] ** step
  if (updateClip) clippedMove({ values, means, divisors }, learningRate / unbiased, updateClip * unbiased)
  else foreachAddcdiv_(values, means, divisors, -learningRate / unbiased)
}

/** `value -= rate mean / divisor`, the quotient scaled down to a root mean square of at most `clip`. */
function clippedMove(
  { values, means, divisors }: Record<'values' | 'means' | 'divisors', Tensor[]>,
  rate: number,
  clip: number,
): void {
  for (const [i, value] of values.entries()) {
    const quotient = (means[i] as Tensor).div(divisors[i] as Tensor)
    const rms = quotient.square().mean().sqrt()
    value.sub_(quotient.div(rms.div(clip).clamp(1)), rate)
  }
}
