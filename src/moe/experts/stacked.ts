// Experts with all their weights in one tensor per projection, the layout of HF transformers 5.
// Shapes: E experts, D model, F expert width, N rows grouped by expert.

import { type Activation, activate, Module, Parameter, uniform } from '../../nn/index.ts'
import { dropout, fusedExperts, hasKernel, linear, type Tensor } from '../../torch/index.ts'
import type { TokenRouting } from '../routing.ts'
import { checkRate } from './checks.ts'
import type { Experts } from './experts.ts'
import { sliceOf, throughGroups } from './groups.ts'

export interface StackedExpertsOptions {
  numExperts: number
  hiddenSize: number
  /** Width F of each expert. */
  intermediateSize: number
  /** Default silu for gated experts (SwiGLU), relu for plain ones. */
  activation?: Activation
  /**
   * Rate of dropout on the hidden activation while training, in [0, 1): the "expert dropout" of Switch (arXiv:2101.03961
   * section 2.4), which takes 0.4 in fine-tuning beside 0.1 elsewhere. Default 0. To drop whole experts see dropExperts.
   */
  dropout?: number
}

/** The part that gated and plain experts share: groups of rows, each through its own slice of the weights. */
abstract class StackedExperts extends Module implements Experts {
  abstract readonly numExperts: number
  abstract readonly activation: Activation
  abstract readonly dropout: number
  abstract readonly down_proj: Parameter // [E, D, F]

  /** The first projection: [E, 2F, D] when gated, else [E, F, D]. */
  protected abstract readonly up: Parameter

  /** One expert, given its slice of each weight tensor. */
  protected abstract apply(x: Tensor, weights: readonly Tensor[]): Tensor

  /** What one expert takes a slice of: the projections, and biases if it has them. */
  protected get stacks(): readonly Parameter[] {
    return [this.up, this.down_proj]
  }

  mixture(xTD: Tensor, { indices, weights }: TokenRouting): Tensor | null {
    const { up, down_proj, activation } = this
    if (this.#drops || this.stacks.length > 2 || !hasKernel('experts', xTD, up, down_proj)) return null
    return fusedExperts(xTD, indices, weights, up, down_proj, activation, up.size(1) !== down_proj.size(2))
  }

  forward(xND: Tensor, counts: readonly number[]): Tensor {
    const slices = this.stacks.map(stack => stack.unbind())
    return throughGroups(xND, counts, (e, group) =>
      this.apply(
        group,
        slices.map(weights => sliceOf(weights, e)),
      ),
    )
  }

  expert(index: number, x: Tensor): Tensor {
    return this.apply(
      x,
      this.stacks.map(stack => stack.select(0, index)),
    )
  }

  /** Dropout of the hidden activation, [n, F] -> [n, F]. */
  protected drop(hidden: Tensor): Tensor {
    return this.#drops ? dropout(hidden, this.dropout, true) : hidden
  }

  get #drops(): boolean {
    return this.training && this.dropout > 0
  }
}

/** `down(act(gate(x)) * up(x))`; with silu this is SwiGLU (arXiv:2002.05202). Gate rows come before up rows. */
export class GatedExperts extends StackedExperts {
  readonly gate_up_proj: Parameter // [E, 2F, D]
  readonly down_proj: Parameter // [E, D, F]
  readonly numExperts: number
  readonly activation: Activation
  readonly dropout: number

  constructor(options: StackedExpertsOptions) {
    super()
    const { numExperts, hiddenSize, intermediateSize, activation = 'silu', dropout = 0 } = options
    this.numExperts = numExperts
    this.activation = activation
    this.dropout = checkRate(dropout, 'experts.dropout')
    this.gate_up_proj = stack(numExperts, 2 * intermediateSize, hiddenSize)
    this.down_proj = stack(numExperts, hiddenSize, intermediateSize)
  }

  protected override get up(): Parameter {
    return this.gate_up_proj
  }

  protected override apply(x: Tensor, weights: readonly Tensor[]): Tensor {
    const [gateUp, down] = weights as [Tensor, Tensor]
    const [gate, up] = linear(x, gateUp).chunk(2, -1) as [Tensor, Tensor] // [n, F] each
    return linear(this.drop(activate(gate, this.activation).mul(up)), down)
  }
}

export interface PlainExpertsOptions extends StackedExpertsOptions {
  /** Biases of both projections, which NLLB has. Default false. */
  bias?: boolean
}

/** `down(act(up(x)))`, the two-matrix feed-forward of GShard, Switch and GLaM. */
export class PlainExperts extends StackedExperts {
  readonly up_proj: Parameter // [E, F, D]
  readonly down_proj: Parameter // [E, D, F]
  readonly up_proj_bias: Parameter | null // [E, F]
  readonly down_proj_bias: Parameter | null // [E, D]
  readonly numExperts: number
  readonly activation: Activation
  readonly dropout: number

  constructor(options: PlainExpertsOptions) {
    super()
    const {
      numExperts,
      hiddenSize,
      intermediateSize,
      activation = 'relu',
      dropout = 0,
      bias = false,
    } = options
    this.numExperts = numExperts
    this.activation = activation
    this.dropout = checkRate(dropout, 'experts.dropout')
    this.up_proj = stack(numExperts, intermediateSize, hiddenSize)
    this.down_proj = stack(numExperts, hiddenSize, intermediateSize)
    this.up_proj_bias = bias ? biases(numExperts, intermediateSize, hiddenSize) : null
    this.down_proj_bias = bias ? biases(numExperts, hiddenSize, intermediateSize) : null
  }

  protected override get up(): Parameter {
    return this.up_proj
  }

  protected override get stacks(): readonly Parameter[] {
    const { up_proj, down_proj, up_proj_bias, down_proj_bias } = this
    return up_proj_bias && down_proj_bias
      ? [up_proj, down_proj, up_proj_bias, down_proj_bias]
      : [up_proj, down_proj]
  }

  protected override apply(x: Tensor, weights: readonly Tensor[]): Tensor {
    const [up, down, upBias, downBias] = weights as [Tensor, Tensor, Tensor?, Tensor?]
    return linear(this.drop(activate(linear(x, up, upBias), this.activation)), down, downBias)
  }
}

/** E linear maps `in` -> `out`, initially uniform on `+-1/sqrt(in)`. */
function stack(numExperts: number, out: number, into: number): Parameter {
  return new Parameter({
    shape: [numExperts, out, into],
    role: 'experts',
    init: uniform(1 / Math.sqrt(into)),
  })
}

/** E biases, initially as their maps. */
function biases(numExperts: number, out: number, into: number): Parameter {
  return new Parameter({ shape: [numExperts, out], role: 'experts', init: uniform(1 / Math.sqrt(into)) })
}
