// The two-matrix feed-forward network as a module: the plain counterpart of GatedMlp.

import { type Activation, activate, Linear, Module, type Role } from '../../nn/index.ts'
import type { Tensor } from '../../torch/index.ts'

export interface PlainMlpOptions {
  /** Default relu, as for PlainExperts. */
  activation?: Activation
  /** Biases of both projections. Default false. */
  bias?: boolean
  /** Default dense. */
  role?: Role
}

/** `down(act(up(x)))`: [..., hidden] -> [..., hidden]. */
export class PlainMlp extends Module {
  readonly up_proj: Linear
  readonly down_proj: Linear
  readonly activation: Activation

  constructor(
    hiddenSize: number,
    intermediateSize: number,
    { activation = 'relu', bias = false, role = 'dense' }: PlainMlpOptions = {},
  ) {
    super()
    this.up_proj = new Linear(hiddenSize, intermediateSize, { bias, role })
    this.down_proj = new Linear(intermediateSize, hiddenSize, { bias, role })
    this.activation = activation
  }

  forward(x: Tensor): Tensor {
    return this.down_proj.forward(activate(this.up_proj.forward(x), this.activation))
  }
}
