// A linear layer with a low-rank addition.
// Shapes: I inputs, O outputs, r rank.

import { constant, type Linear, linearBy, Module, Parameter, uniform } from '../../nn/index.ts'
import { dropout, linear, type Tensor } from '../../torch/index.ts'

export interface LoraOptions {
  /** r */
  rank: number
  /** The addition is scaled by `alpha / rank`. */
  alpha: number
  /** Rate at which inputs of the addition are dropped while training, in [0, 1). */
  dropout: number
}

/**
 * `y = x W^T + b + alpha / r (dropout(x) A^T) B^T` (arXiv:2106.09685 section 4.1). A starts as a Linear's weights do and B at 0:
 * at first nothing is added.
 */
export class LoraLinear extends Module {
  /** What the addition is to. */
  readonly base: Linear
  readonly lora_A: Parameter // [r, I]
  readonly lora_B: Parameter // [O, r]
  readonly scale: number
  readonly #dropout: number

  constructor(base: Linear, { rank, alpha, dropout: rate }: LoraOptions) {
    super()
    const [outputs = 0, inputs = 0] = base.weight.shape
    this.base = base
    this.lora_A = new Parameter({
      shape: [rank, inputs],
      role: 'adapter',
      init: uniform(1 / Math.sqrt(inputs)),
    })
    this.lora_B = new Parameter({ shape: [outputs, rank], role: 'adapter', init: constant(0) })
    this.scale = alpha / rank
    this.#dropout = rate
  }

  get bias(): Parameter | null {
    return this.base.bias
  }

  /** W with what is added: [O, I]. */
  get weight(): Tensor {
    return this.base.weight.add(this.lora_B.matmul(this.lora_A), this.scale)
  }

  /** [..., I] -> [..., O] */
  forward(x: Tensor): Tensor {
    const { base, lora_A, lora_B, scale } = this
    const kept = this.training && this.#dropout > 0 ? dropout(x, this.#dropout, true) : x
    const low = linear(kept, lora_A) // [..., r]
    return linearBy(x, base.weight, base.bias).add(linear(low, lora_B), scale)
  }
}
