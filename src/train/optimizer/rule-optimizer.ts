// Optimizers that are a rule for one parameter at a time, an operator at a time.

import { ConfigError } from '../../errors.ts'
import type { Declaration, Parameter } from '../../nn/index.ts'
import { noGrad, type Tensor, tidy, zeros } from '../../torch/index.ts'
import { gradientFactor } from './clip.ts'
import { inGroups } from './groups.ts'
import type { GradientScaling, Optimizer, ParameterGroup } from './optimizer.ts'

/** What a rule knows of a step. */
export interface StepRates {
  learningRate: number
  weightDecay: number
  /** Counted from 1. */
  step: number
}

/** How a parameter moves. */
export interface Rule {
  /** What is kept of a parameter between steps: shapes by name, initially 0. */
  stateShapes(declaration: Declaration): Record<string, readonly number[]>
  /** Moves a parameter by its gradient, and what is kept with it. */
  move(
    parameter: Parameter,
    gradient: Tensor,
    state: Readonly<Record<string, Tensor>>,
    rates: StepRates,
  ): void
}

/**
 * Moves parameters by a rule. What is kept has the type of the parameter. On CUDA an update waits for the norm of the gradients,
 * so that it cannot be part of a graph.
 */
export class RuleOptimizer implements Optimizer {
  readonly groups: readonly ParameterGroup[]
  step = 0
  readonly #rule: Rule
  readonly #learningRate: number
  readonly #kept = new Map<Parameter, Record<string, Tensor>>()

  /** @param trained parameters, which are then one group named `all` and numbered, or groups of them */
  constructor(
    trained: Iterable<Parameter> | Iterable<ParameterGroup>,
    rule: Rule,
    { learningRate, weightDecay }: { learningRate: number; weightDecay: number },
  ) {
    this.groups = inGroups([...trained], weightDecay)
    this.#rule = rule
    this.#learningRate = learningRate
  }

  update(learningRate = this.#learningRate, scaling: GradientScaling = {}): void {
    const factor = gradientFactor(scaling)
    if (factor === null) return
    this.step++
    noGrad(() => {
      for (const group of this.groups)
        for (const parameter of group.parameters.values())
          tidy(() => this.#move(parameter, group, learningRate, factor))
    })
  }

  #move(parameter: Parameter, { scale, weightDecay }: ParameterGroup, rate: number, factor: number): void {
    const { grad } = parameter
    if (grad === null) return
    const gradient = factor === 1 ? grad : grad.mul(factor)
    const rates = { learningRate: rate * scale, weightDecay, step: this.step }
    this.#rule.move(parameter, gradient, this.#keptOf(parameter), rates)
  }

  #keptOf(parameter: Parameter): Record<string, Tensor> {
    const known = this.#kept.get(parameter)
    if (known) return known
    const { dtype, device, shape } = parameter
    const shapes = Object.entries(this.#rule.stateShapes({ ...parameter.declaration, shape }))
    const made = Object.fromEntries(
      shapes.map(([name, size]) => [name, zeros(size, { dtype, device }).persist()]),
    )
    this.#kept.set(parameter, made)
    return made
  }

  /** What is kept of every parameter, as `<name>.<path>`. */
  state(): Map<string, Tensor> {
    const members = this.groups.flatMap(({ parameters }) => [...parameters])
    return new Map(
      members.flatMap(([path, parameter]) =>
        Object.entries(this.#keptOf(parameter)).map(([name, kept]) => [`${name}.${path}`, kept] as const),
      ),
    )
  }

  dispose(): void {
    for (const kept of this.#kept.values()) for (const tensor of Object.values(kept)) tensor.dispose()
    this.#kept.clear()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** @throws ConfigError for parameters in half precision, of which a rule keeps no f32 copies */
export function refuseHalf(kind: string, groups: readonly ParameterGroup[]): void {
  const types = groups.flatMap(({ parameters }) => [...parameters.values()].map(({ dtype }) => dtype))
  if (!types.some(type => type === 'bf16' || type === 'f16')) return
  throw new ConfigError(
    `half is for adamw: ${kind} keeps no f32 copies of weights; use f32 or autocast, or optimizer.kind adamw`,
    { path: 'precision.kind' },
  )
}

/** Bytes that a rule keeps of an f32 parameter. */
export function ruleBytes(rule: Rule, declaration: Declaration): number {
  const shapes = Object.values(rule.stateShapes(declaration))
  return shapes.reduce((sum, shape) => sum + shape.reduce((product, size) => product * size, 4), 0)
}
