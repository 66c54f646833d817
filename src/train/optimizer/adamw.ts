// AdamW with decoupled weight decay (arXiv:1711.05101), a list of tensors at a time.

import {
  foreachAdd_,
  foreachAddcdiv_,
  foreachAddcmul_,
  foreachMul_,
  foreachSqrt,
  fusedAdamw_,
  hasKernel,
  noGrad,
  type Parameter,
  type Tensor,
  tidy,
  zerosLike,
} from '../../torch/index.ts'

/** Parameters that share a learning rate and weight decay. */
export interface ParameterGroup {
  name: string
  parameters: Map<string, Parameter>
  /** Factor of the learning rate. */
  scale: number
  weightDecay: number
}

export interface AdamWOptions {
  betas: readonly [number, number]
  epsilon: number
  /**
   * Largest root mean square of a parameter's update, before the learning rate; null: any. Steadies training as in
   * Adafactor (arXiv:1804.04235 section 6), at some cost in quality where it is as low as ST-MoE's 0.1
   * (arXiv:2202.08906 section 3). Default null.
   */
  updateClip?: number | null
}

interface Moments {
  mean: Tensor
  square: Tensor
}

/**
 * `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
 * `u = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)`, `p = p - lr wd p - lr u / max(1, rms(u) / updateClip)`.
 */
export class AdamW {
  readonly groups: readonly ParameterGroup[]
  readonly options: AdamWOptions
  /** Steps taken. */
  step = 0
  readonly #moments = new Map<Parameter, Moments>()

  constructor(groups: readonly ParameterGroup[], options: AdamWOptions) {
    this.groups = groups
    this.options = options
  }

  /**
   * Moves every parameter that has a gradient.
   *
   * @param gradientFactor multiplies every gradient, as clipping does (clipFactor())
   */
  update(learningRate: number, gradientFactor = 1): void {
    this.step++
    noGrad(() => {
      for (const group of this.groups)
        tidy(() => this.#updateGroup(group, learningRate * group.scale, gradientFactor))
    })
  }

  #updateGroup({ parameters, weightDecay }: ParameterGroup, learningRate: number, factor: number): void {
    const moving = [...parameters.values()].flatMap(parameter => {
      const { grad } = parameter
      return grad === null ? [] : [{ parameter, grad, ...this.#momentsOf(parameter) }]
    })
    if (moving.length === 0) return
    const lists = {
      values: moving.map(item => item.parameter),
      gradients: moving.map(item => item.grad),
      means: moving.map(item => item.mean),
      squares: moving.map(item => item.square),
    }
    const rates = { ...this.options, learningRate, weightDecay, step: this.step, factor }
    const isFused = !this.options.updateClip && hasKernel('adamw', ...lists.values, ...lists.gradients)
    if (isFused) fusedStep(lists, rates)
    else referenceStep(lists, rates)
  }

  #momentsOf(parameter: Parameter): Moments {
    const known = this.#moments.get(parameter)
    if (known) return known
    const made = { mean: zerosLike(parameter).persist(), square: zerosLike(parameter).persist() }
    this.#moments.set(parameter, made)
    return made
  }

  /** Both moments of every parameter, as `exp_avg.<path>` and `exp_avg_sq.<path>`. */
  state(): Map<string, Tensor> {
    const state = new Map<string, Tensor>()
    for (const { parameters } of this.groups) {
      for (const [path, parameter] of parameters) {
        const { mean, square } = this.#momentsOf(parameter)
        state.set(`exp_avg.${path}`, mean).set(`exp_avg_sq.${path}`, square)
      }
    }
    return state
  }

  dispose(): void {
    for (const { mean, square } of this.#moments.values()) {
      mean.dispose()
      square.dispose()
    }
    this.#moments.clear()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

interface Lists {
  values: Tensor[]
  gradients: Tensor[]
  means: Tensor[]
  squares: Tensor[]
}

interface Rates extends AdamWOptions {
  learningRate: number
  weightDecay: number
  step: number
  factor: number
}

/** One pass over memory. */
function fusedStep({ values, gradients, means, squares }: Lists, rates: Rates): void {
  const { learningRate, betas, epsilon, weightDecay, step, factor } = rates
  fusedAdamw_(values, gradients, means, squares, learningRate, ...betas, epsilon, weightDecay, step, factor)
}

function referenceStep({ values, gradients, means, squares }: Lists, rates: Rates): void {
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
