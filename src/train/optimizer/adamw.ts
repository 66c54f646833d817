// AdamW with decoupled weight decay (arXiv:1711.05101), a list of tensors at a time.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import type { Parameter } from '../../nn/index.ts'
import {
  type DType,
  itemSize,
  kernelFor,
  mixedAdamw_,
  noGrad,
  type Tensor,
  tensor,
  tidy,
  zeros,
  zerosLike,
} from '../../torch/index.ts'
import { type Lists, type Rates, referenceStep } from './adamw-reference.ts'
import { gradientFactor } from './clip.ts'
import { groupsSchema, inGroups } from './groups.ts'
import type {
  GradientScaling,
  HalfPrecision,
  OptimizerRow,
  ParameterGroup,
  RecordableOptimizer,
} from './optimizer.ts'

export interface AdamWOptions extends HalfPrecision {
  /** Of updates that name none. Default 1e-3. */
  learningRate?: number
  /** Default 0.9 and 0.999. */
  betas?: readonly [number, number]
  /** Default 1e-8. */
  epsilon?: number
  /** Of parameters that come without groups. Default 0.01. */
  weightDecay?: number
  /**
   * Largest root mean square of a parameter's update, before the learning rate; null: any. Steadies training as in
   * Adafactor (arXiv:1804.04235 section 6), at some cost in quality where it is as low as ST-MoE's 0.1
   * (arXiv:2202.08906 section 3). Default null.
   */
  updateClip?: number | null
}

/** PyTorch's. */
const defaults = {
  learningRate: 1e-3,
  betas: [0.9, 0.999],
  epsilon: 1e-8,
  weightDecay: 0.01,
  updateClip: null,
  moments: 'f32',
  master: true,
} as const satisfies Required<AdamWOptions>

interface Moments {
  mean: Tensor
  square: Tensor
  /** Null where the parameter itself moves. */
  master: Tensor | null
}

/**
 * `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
 * `u = m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)`, `p = p - lr wd p - lr u / max(1, rms(u) / updateClip)`.
 */
export class AdamW implements RecordableOptimizer {
  readonly groups: readonly ParameterGroup[]
  readonly options: Required<AdamWOptions>
  step = 0
  readonly #moments = new Map<Parameter, Moments>()
  readonly #rates = new Map<ParameterGroup, Tensor>() // f32 [8] each, see #tellRates()

  /** @param trained parameters, which are then one group named `all` and numbered, or groups of them */
  constructor(trained: Iterable<Parameter> | Iterable<ParameterGroup>, options: AdamWOptions = {}) {
    this.options = { ...defaults, ...options }
    this.groups = inGroups([...trained], this.options.weightDecay)
    const half = this.#parameters.find(({ dtype }) => isHalf(dtype))
    if (half) checkHalf(half, this.options)
  }

  get #parameters(): Parameter[] {
    return this.groups.flatMap(({ parameters }) => [...parameters.values()])
  }

  reserve(): void {
    for (const group of this.groups) {
      this.#ratesOf(group)
      for (const parameter of group.parameters.values()) this.#momentsOf(parameter)
    }
  }

  update(learningRate = this.options.learningRate, scaling: GradientScaling = {}): void {
    if (this.#isOnDevice) {
      this.prepare(learningRate, scaling.lossScale)
      this.move(scaling)
      return
    }
    const factor = gradientFactor(scaling)
    if (factor === null) return
    this.step++
    this.#eachGroup(group => this.#moveOnHost(group, learningRate * group.scale, factor))
  }

  /** Also where parameters are in half precision. */
  prepare(learningRate = this.options.learningRate, lossScale = 1): void {
    this.step++
    this.#eachGroup(group => this.#tellRates(group, learningRate * group.scale, 1 / lossScale))
  }

  move({ norm = null, clip = null }: GradientScaling = {}): void {
    this.#eachGroup(group => {
      const rates = this.#ratesOf(group)
      const size = norm?.float() ?? zeros([], { device: rates.device })
      for (const { values, gradients, means, squares, masters } of alike(this.#moving(group)))
        mixedAdamw_(values, gradients, means, squares, masters, rates, size, norm && clip ? clip : 0)
    })
  }

  #eachGroup(body: (group: ParameterGroup) => void): void {
    noGrad(() => {
      for (const group of this.groups) tidy(() => body(group))
    })
  }

  #moveOnHost(group: ParameterGroup, learningRate: number, factor: number): void {
    const moving = this.#moving(group)
    if (moving.length === 0) return
    const lists = listsOf(moving)
    adamwStep(lists, {
      ...this.options,
      learningRate,
      weightDecay: group.weightDecay,
      step: this.step,
      factor,
    })
  }

  #moving({ parameters }: ParameterGroup): Moving[] {
    return [...parameters.values()].flatMap(parameter => {
      const { grad } = parameter
      return grad === null ? [] : [{ parameter, grad, ...this.#momentsOf(parameter) }]
    })
  }

  /** Whether adamw_mixed_ does the work: where any parameter is in half precision, and on CUDA. */
  get #isOnDevice(): boolean {
    const all = this.#parameters
    if (all.some(({ dtype }) => isHalf(dtype))) return true
    const [first] = all
    return first !== undefined && !this.options.updateClip && kernelFor('mixedAdamw', first) !== null
  }

  #ratesOf(group: ParameterGroup): Tensor {
    const known = this.#rates.get(group)
    if (known) return known
    const [first] = group.parameters.values()
    const made = zeros([8], { device: first?.device ?? 'cpu' }).persist()
    this.#rates.set(group, made)
    return made
  }

  /** What `adamw_mixed_` reads: see native/ops/optimizer/mixed_optimizer.cc. */
  #tellRates(group: ParameterGroup, learningRate: number, inverseScale: number): void {
    const { betas, epsilon } = this.options
    const rates = [
      1 - learningRate * group.weightDecay,
      ...betas,
      learningRate / (1 - betas[0] ** this.step),
      1 / Math.sqrt(1 - betas[1] ** this.step),
      epsilon,
      inverseScale,
      this.step,
    ]
    this.#ratesOf(group).copy_(tensor(Float32Array.from(rates)), true)
  }

  #momentsOf(parameter: Parameter): Moments {
    const known = this.#moments.get(parameter)
    if (known) return known
    const made = noGrad(() => this.#freshMoments(parameter))
    this.#moments.set(parameter, made)
    return made
  }

  #freshMoments(parameter: Parameter): Moments {
    const { moments, master } = this.options
    const half = isHalf(parameter.dtype)
    const nothing = (): Tensor =>
      zerosLike(parameter, half ? moments : parameter.dtype)
        .detach()
        .persist()
    return {
      mean: nothing(),
      square: nothing(),
      master: half && master ? parameter.detach().to('f32').persist() : null,
    }
  }

  /** Moments of every parameter, `exp_avg.<path>` and `exp_avg_sq.<path>`, and f32 copies as `master.<path>`. */
  state(): Map<string, Tensor> {
    const state = new Map<string, Tensor>()
    for (const { parameters } of this.groups) {
      for (const [path, parameter] of parameters) {
        const { mean, square, master } = this.#momentsOf(parameter)
        state.set(`exp_avg.${path}`, mean).set(`exp_avg_sq.${path}`, square)
        if (master) state.set(`master.${path}`, master)
      }
    }
    return state
  }

  dispose(): void {
    for (const { mean, square, master } of this.#moments.values()) {
      mean.dispose()
      square.dispose()
      master?.dispose()
    }
    for (const rates of this.#rates.values()) rates.dispose()
    this.#moments.clear()
    this.#rates.clear()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

type Moving = { parameter: Parameter; grad: Tensor } & Moments

const isHalf = (dtype: DType): boolean => dtype === 'bf16' || dtype === 'f16'

/** @throws ConfigError for what half precision cannot be combined with */
function checkHalf(parameter: Parameter, { updateClip, master }: AdamWOptions): void {
  const refuse = (path: string, message: string): never => {
    throw new ConfigError(message, { path })
  }
  if (updateClip)
    refuse(
      'optimizer.updateClip',
      'is not known for weights in half precision: set it to null, or weights to f32',
    )
  if (parameter.dtype === 'f16' && master === false)
    refuse('precision.master', 'f16 weights need an f32 master copy: set it to true, or the type to bf16')
  if (parameter.device !== 'cpu' && !kernelFor('mixedAdamw', parameter))
    refuse(
      'precision.kind',
      'half needs the CUDA kernels: build the addon where nvcc is, or use f32 or autocast',
    )
}

function listsOf(moving: readonly Moving[]): Lists & { masters: Tensor[] } {
  return {
    values: moving.map(item => item.parameter),
    gradients: moving.map(item => item.grad),
    means: moving.map(item => item.mean),
    squares: moving.map(item => item.square),
    masters: moving.flatMap(item => item.master ?? []),
  }
}

/** Lists within which types are the same: a model in half precision may have an f32 router. */
function alike(moving: readonly Moving[]): (Lists & { masters: Tensor[] })[] {
  const sorted = new Map<string, Moving[]>()
  for (const item of moving) {
    const key = `${item.parameter.dtype} ${item.grad.dtype}`
    const others = sorted.get(key)
    if (others) others.push(item)
    else sorted.set(key, [item])
  }
  return [...sorted.values()].map(listsOf)
}

/** Moves tensors in f32 and f64, where there is a kernel in one pass over memory. */
export function adamwStep(lists: Lists, rates: Rates): void {
  const { values, gradients, means, squares } = lists
  const { learningRate, betas, epsilon, weightDecay, step, factor, updateClip } = rates
  const kernel = updateClip ? null : kernelFor('adamw', ...values, ...gradients)
  if (kernel)
    kernel(values, gradients, means, squares, learningRate, ...betas, epsilon, weightDecay, step, factor)
  else referenceStep(lists, rates)
}

const schema = z.strictObject({
  kind: z.literal('adamw'),
  learningRate: z.number().positive(),
  betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).default([0.9, 0.95]),
  epsilon: z.number().positive().default(1e-8),
  weightDecay: z.number().nonnegative().default(0.1),
  /** Largest root mean square of a parameter's update; null: any. */
  updateClip: z.number().positive().nullable().default(null),
  groups: groupsSchema.prefault({}),
})

/** `adamw` in recipes. */
export const adamw: OptimizerRow<typeof schema> = {
  schema,
  stateBytes: ({ shape }, _, half) => {
    const size = half
      ? 2 * itemSize[half.moments ?? 'f32'] + (half.master === false ? 0 : itemSize.f32)
      : 2 * itemSize.f32
    return shape.reduce((product, length) => product * length, size)
  },
  make: (groups, { learningRate, betas, epsilon, weightDecay, updateClip }, half) =>
    new AdamW(groups, { learningRate, betas, epsilon, weightDecay, updateClip, ...half }),
}
