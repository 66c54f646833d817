import { empty, linear, Parameter, type Tensor } from '../torch/index.ts'
import { uniform } from './init.ts'
import { Module } from './module.ts'

/** `y = x W^T + b`: [..., in] -> [..., out]. Initial weights are uniform on `+-1/sqrt(in)`, as in PyTorch. */
export class Linear extends Module {
  readonly weight: Parameter // [out, in]
  readonly bias: Parameter | null

  constructor(inFeatures: number, outFeatures: number, { bias = true } = {}) {
    super()
    const bound = 1 / Math.sqrt(inFeatures)
    this.weight = new Parameter(uniform(empty([outFeatures, inFeatures]), bound))
    this.bias = bias ? new Parameter(uniform(empty([outFeatures]), bound)) : null
  }

  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias)
  }
}
