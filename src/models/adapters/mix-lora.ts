// Low-rank experts that share a dense feed-forward, behind a router of their own (MixLoRA, arXiv:2404.15159).
// Shapes: E experts, r rank, I inputs and O outputs of a projection, D model.

import { MoeLayer, SharedExperts, type SharedLinear, TopKRouter } from '../../moe/index.ts'
import { type GatedMlp, type Linear, normal, numbersOf } from '../../nn/index.ts'
import { dropout, linear, type Tensor } from '../../torch/index.ts'
import { LoraStack } from './lora-experts.ts'
import type { LoraOptions } from './lora-linear.ts'

/** `W + alpha / r B_e A_e` of a linear layer's W, which stays as it is. */
export class MixLoraLinear extends LoraStack implements SharedLinear {
  readonly base: Linear
  readonly #dropout: number

  constructor(base: Linear, numExperts: number, options: LoraOptions) {
    super([numExperts, ...base.weight.shape], 'all', options)
    this.base = base
    this.#dropout = options.dropout
  }

  shared(x: Tensor): Tensor {
    return this.base.forward(x)
  }

  corrections(): (expert: number, x: Tensor) => Tensor {
    const [a, b] = [this.lora_A.unbind(), this.lora_B.unbind()] as [Tensor[], Tensor[]]
    const rate = this.training ? this.#dropout : 0
    return (expert, x) => {
      const kept = rate > 0 ? dropout(x, rate, true) : x
      return linear(linear(kept, a[expert] as Tensor), b[expert] as Tensor).mul(this.scale)
    }
  }

  weightOf(expert: number): Tensor {
    const delta = this.lora_B.select(0, expert).matmul(this.lora_A.select(0, expert))
    return numbersOf(this.base.weight).add(delta, this.scale)
  }
}

export interface MixLoraOptions extends LoraOptions {
  /** E */
  experts: number
  /** Experts of a token. */
  k: number
}

/**
 * `y = sum_k R(x)_k E_k(x)`, `R = softmax(topk(x W_g^T))`, where each `E_k` is the feed-forward with `W + alpha / r B_k A_k` for its three
 * matrices (arXiv:2404.15159 equations 5 to 7). B starts at 0 and the weights of a token's experts sum to one: at first all experts are
 * what the feed-forward was. The router starts normal, with a deviation of 0.02.
 */
export class MixLora extends MoeLayer<TopKRouter, SharedExperts<MixLoraLinear>> {
  constructor(mlp: GatedMlp, { experts: numExperts, k, ...lora }: MixLoraOptions) {
    const [hiddenSize = 0] = mlp.down_proj.weight.shape
    const adapted = (base: Linear): MixLoraLinear => new MixLoraLinear(base, numExperts, lora)
    const projections = {
      gate_proj: adapted(mlp.gate_proj),
      up_proj: adapted(mlp.up_proj),
      down_proj: adapted(mlp.down_proj),
    }
    super(
      new TopKRouter({ hiddenSize, numExperts, topK: k, init: normal(0.02), role: 'adapter' }),
      new SharedExperts(projections, { numExperts, hiddenSize, activation: mlp.activation }),
    )
  }
}
