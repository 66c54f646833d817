// Batch normalisation whose statistics leave padding out.
// Shapes: T tokens, F features.

import { atLeastF32, Buffer, constant, Module, Parameter } from '../../nn/index.ts'
import { noGrad, ones, type Tensor, tidy } from '../../torch/index.ts'

/**
 * `y = w (x - mean) / sqrt(var + eps) + b`, mean and variance of each feature over the batch's real tokens while
 * training, and their running averages otherwise (arXiv:1502.03167 algorithm 1; averages as in PyTorch: momentum 0.1,
 * unbiased variance). With fewer than two real tokens training takes the running averages too.
 *
 * While training, a token's output depends on all tokens of its batch, later ones included.
 */
export class MaskedBatchNorm extends Module {
  readonly weight: Parameter // [F]
  readonly bias: Parameter // [F]
  readonly running_mean: Buffer // [F]
  readonly running_var: Buffer // [F]
  readonly eps: number
  readonly momentum: number

  constructor(features: number, { eps = 1e-5, momentum = 0.1 } = {}) {
    super()
    this.weight = new Parameter({ shape: [features], role: 'norm', init: constant(1) })
    this.bias = new Parameter({ shape: [features], role: 'norm', init: constant(0) })
    this.running_mean = new Buffer([features], { role: 'norm' })
    this.running_var = new Buffer([features], { role: 'norm', value: () => ones([features]) })
    this.eps = eps
    this.momentum = momentum
  }

  /**
   * @param x [T, F]
   * @param mask bool [T], false for padding, whose rows come out normalised as the others
   * @returns f32 or wider [T, F]
   */
  forward(x: Tensor, mask: Tensor | null = null): Tensor {
    const wide = atLeastF32(x)
    const [mean, variance] = this.#statistics(wide, mask)
    const scale = variance.add(this.eps).rsqrt().mul(this.weight)
    return wide.sub(mean).mul(scale).add(this.bias)
  }

  #statistics(x: Tensor, mask: Tensor | null): [mean: Tensor, variance: Tensor] {
    const running: [Tensor, Tensor] = [this.running_mean.to(x.dtype), this.running_var.to(x.dtype)]
    if (!this.training) return running
    const tokens = mask === null ? x.size(0) : mask.sum().item()
    if (tokens < 2) return running
    const real = (values: Tensor): Tensor =>
      mask === null ? values : values.maskedFill(mask.logicalNot().unsqueeze(-1), 0)
    const mean = real(x).sum(0).div(tokens) // [F]
    const variance = real(x.sub(mean)).square().sum(0).div(tokens) // [F]
    if (this.remembers) this.#remember(mean, variance, tokens)
    return [mean, variance]
  }

  #remember(mean: Tensor, variance: Tensor, tokens: number): void {
    noGrad(() =>
      tidy(() => {
        const { dtype } = this.running_mean
        this.running_mean.lerp_(mean.to(dtype), this.momentum)
        this.running_var.lerp_(variance.mul(tokens / (tokens - 1)).to(dtype), this.momentum)
      }),
    )
  }
}
