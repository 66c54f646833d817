// Mixtures of small changes to what a linear layer gives, all of which count for each token (MoLoRA and MoV, arXiv:2309.05444).
// Shapes: E experts, r rank, I inputs, O outputs.

import { atLeastF32, constant, type Linear, Module, normal, Parameter } from '../../nn/index.ts'
import { dropout, fullPrecision, linear, type Tensor } from '../../torch/index.ts'
import { LoraStack } from './lora-experts.ts'
import type { LoraOptions } from './lora-linear.ts'

/** `softmax(x W^T)` in f32 or wider: how much each expert counts (arXiv:2309.05444 section 2.2). */
export class SoftGate extends Module {
  readonly weight: Parameter // [E, I]

  constructor(experts: number, inputs: number) {
    super()
    this.weight = new Parameter({ shape: [experts, inputs], role: 'adapter', init: normal(0.02) })
  }

  /** [..., I] -> [..., E] in the type of x */
  forward(x: Tensor): Tensor {
    const scores = (): Tensor => linear(atLeastF32(x), atLeastF32(this.weight)).softmax(-1)
    return fullPrecision(x.device, scores).to(x.dtype)
  }
}

/**
 * `y = W x + b + alpha / r sum_e s_e B_e A_e x`, `s = softmax(W_g x)`: low-rank experts, merged softly for each token. The products with all A
 * are one, and so are those with all B. B starts at 0: at first nothing is added.
 */
export class MoLoraLinear extends LoraStack {
  readonly base: Linear
  readonly gate: SoftGate
  readonly #dropout: number

  constructor(base: Linear, experts: number, options: LoraOptions) {
    super([experts, ...base.weight.shape], 'all', options)
    this.base = base
    this.gate = new SoftGate(experts, base.weight.shape[1] ?? 0)
    this.#dropout = options.dropout
  }

  /** [..., I] -> [..., O] */
  forward(x: Tensor): Tensor {
    const { base, gate, lora_A, lora_B, scale } = this
    const [experts = 0, rank = 0] = lora_A.shape
    const rows = x.shape.slice(0, -1)
    const kept = this.training && this.#dropout > 0 ? dropout(x, this.#dropout, true) : x
    const low = linear(kept, lora_A.flatten(0, 1)).view([...rows, experts, rank])
    const weighted = low.mul(gate.forward(x).unsqueeze(-1)).view([...rows, experts * rank])
    const up = lora_B.transpose(0, 1).flatten(1, 2) // [O, E r]
    return base.forward(x).add(linear(weighted, up), scale)
  }
}

/**
 * `y = (sum_e s_e l_e) * (W x + b)`, `s = softmax(W_g x)`: a mixture of (IA)^3 vectors (arXiv:2205.05638 section 3.3), which start at 1, so that at
 * first nothing is scaled.
 */
export class MovLinear extends Module {
  readonly base: Linear
  readonly gate: SoftGate
  readonly vectors: Parameter // [E, O]

  constructor(base: Linear, experts: number) {
    super()
    const [outputs = 0, inputs = 0] = base.weight.shape
    this.base = base
    this.gate = new SoftGate(experts, inputs)
    this.vectors = new Parameter({ shape: [experts, outputs], role: 'adapter', init: constant(1) })
  }

  /** [..., I] -> [..., O] */
  forward(x: Tensor): Tensor {
    const scale = this.gate.forward(x).matmul(this.vectors) // [..., O]
    return this.base.forward(x).mul(scale)
  }
}
