// Normalisations over the last dimension.

import { kernelFor, layerNorm, type Tensor } from '../torch/index.ts'
import { constant } from './init.ts'
import { Module } from './module.ts'
import { Parameter } from './parameter.ts'
import { atLeastF32 } from './precision.ts'

/** `y = w * x / sqrt(mean(x^2) + eps)`, computed in f32 (arXiv:1910.07467). */
export class RMSNorm extends Module {
  readonly weight: Parameter // [dim]
  readonly eps: number

  constructor(dim: number, eps = 1e-6) {
    super()
    this.weight = new Parameter({ shape: [dim], role: 'norm', init: constant(1) })
    this.eps = eps
  }

  forward(x: Tensor): Tensor {
    return kernelFor('rmsNorm', x, this.weight)?.(x, this.weight, this.eps) ?? this.#reference(x)
  }

  #reference(x: Tensor): Tensor {
    const wide = atLeastF32(x)
    const scale = wide.square().mean(-1, true).add_(this.eps).rsqrt() // [..., 1]
    return wide.mul(scale).to(x.dtype).mul(this.weight)
  }
}

/** `y = w * (x - mean) / sqrt(var + eps) + b` (arXiv:1607.06450). */
export class LayerNorm extends Module {
  readonly weight: Parameter // [dim]
  readonly bias: Parameter // [dim]
  readonly eps: number

  constructor(dim: number, eps = 1e-5) {
    super()
    this.weight = new Parameter({ shape: [dim], role: 'norm', init: constant(1) })
    this.bias = new Parameter({ shape: [dim], role: 'norm', init: constant(0) })
    this.eps = eps
  }

  forward(x: Tensor): Tensor {
    return layerNorm(x, this.weight.shape, this.weight, this.bias, this.eps)
  }
}
