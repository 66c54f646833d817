import type { Tensor } from '../torch/index.ts'
import { type Activation, activate } from './activation.ts'
import { Linear } from './linear.ts'
import { Module } from './module.ts'
import type { Role } from './parameter.ts'

/** `down(act(gate(x)) * up(x))`: [..., hidden] -> [..., hidden]. With silu, the default, this is SwiGLU. */
export class GatedMlp extends Module {
  readonly gate_proj: Linear
  readonly up_proj: Linear
  readonly down_proj: Linear
  readonly activation: Activation

  constructor(
    hiddenSize: number,
    intermediateSize: number,
    activation: Activation = 'silu',
    role: Role = 'dense',
  ) {
    super()
    this.gate_proj = new Linear(hiddenSize, intermediateSize, { bias: false, role })
    this.up_proj = new Linear(hiddenSize, intermediateSize, { bias: false, role })
    this.down_proj = new Linear(intermediateSize, hiddenSize, { bias: false, role })
    this.activation = activation
  }

  forward(x: Tensor): Tensor {
    return this.down_proj.forward(
      activate(this.gate_proj.forward(x), this.activation).mul(this.up_proj.forward(x)),
    )
  }
}
