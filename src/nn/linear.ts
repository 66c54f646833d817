import { linear, type Tensor } from '../torch/index.ts'
import { uniform } from './init.ts'
import { Module } from './module.ts'
import { Parameter, type Role } from './parameter.ts'

export interface LinearOptions {
  /** Default true. */
  bias?: boolean
  /** Default dense. */
  role?: Role
}

/** `y = x W^T + b`: [..., in] -> [..., out]. Initial weights are uniform on `+-1/sqrt(in)`, as in PyTorch. */
export class Linear extends Module {
  readonly weight: Parameter // [out, in]
  readonly bias: Parameter | null

  constructor(inFeatures: number, outFeatures: number, { bias = true, role = 'dense' }: LinearOptions = {}) {
    super()
    const init = uniform(1 / Math.sqrt(inFeatures))
    this.weight = new Parameter({ shape: [outFeatures, inFeatures], role, init })
    this.bias = bias ? new Parameter({ shape: [outFeatures], role, init }) : null
  }

  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias)
  }
}
