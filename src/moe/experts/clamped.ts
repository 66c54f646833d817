// gpt-oss's experts: SwiGLU with bounded halves, biases, and gate and up columns side by side.
// Shapes: E experts, D model, F expert width, N rows grouped by expert.

import { Module, Parameter, uniform } from '../../nn/index.ts'
import type { Tensor } from '../../torch/index.ts'
import type { Experts } from './experts.ts'
import { sliceOf, throughGroups } from './groups.ts'

export interface ClampedExpertsOptions {
  numExperts: number
  hiddenSize: number
  /** Width F of each expert. */
  intermediateSize: number
  /** Bound of the gate from above and of the other half to both sides (`swiglu_limit`). Default 7. */
  limit?: number
}

/** Steepness of the gate: `g sigmoid(1.702 g)` is close to GELU (arXiv:1606.08415). */
const alpha = 1.702

/**
 * `[g, u] = x W + b`, `g <- min(g, limit)`, `u <- clamp(u, +-limit)`, `y = ((u + 1) g sigmoid(1.702 g)) V + c`
 * (arXiv:2508.10925; transformers, models/gpt_oss/modeling_gpt_oss.py, GptOssExperts). Even columns of W are g, odd ones
 * u; matrices are stored input first, as transformers has them.
 */
export class ClampedExperts extends Module implements Experts {
  readonly gate_up_proj: Parameter // [E, D, 2F]
  readonly gate_up_proj_bias: Parameter // [E, 2F]
  readonly down_proj: Parameter // [E, F, D]
  readonly down_proj_bias: Parameter // [E, D]
  readonly numExperts: number
  readonly limit: number

  constructor({ numExperts, hiddenSize, intermediateSize: width, limit = 7 }: ClampedExpertsOptions) {
    super()
    const stack = (shape: number[], inputs: number): Parameter =>
      new Parameter({ shape: [numExperts, ...shape], role: 'experts', init: uniform(inputs ** -0.5) })
    this.numExperts = numExperts
    this.limit = limit
    this.gate_up_proj = stack([hiddenSize, 2 * width], hiddenSize)
    this.gate_up_proj_bias = stack([2 * width], hiddenSize)
    this.down_proj = stack([width, hiddenSize], width)
    this.down_proj_bias = stack([hiddenSize], width)
  }

  forward(xND: Tensor, counts: readonly number[]): Tensor {
    const stacks = this.#stacks.map(stack => stack.unbind())
    return throughGroups(xND, counts, (e, group) =>
      this.#apply(
        group,
        stacks.map(slices => sliceOf(slices, e)),
      ),
    )
  }

  expert(index: number, x: Tensor): Tensor {
    return this.#apply(
      x,
      this.#stacks.map(stack => stack.select(0, index)),
    )
  }

  get #stacks(): Tensor[] {
    return [this.gate_up_proj, this.gate_up_proj_bias, this.down_proj, this.down_proj_bias]
  }

  /** [n, D] -> [n, D] */
  #apply(x: Tensor, weights: readonly Tensor[]): Tensor {
    const [gateUp, gateUpBias, down, downBias] = weights as [Tensor, Tensor, Tensor, Tensor]
    const pairs = x
      .matmul(gateUp)
      .add(gateUpBias)
      .view([x.size(0), down.size(0), 2]) // [n, F, 2]
    const gate = pairs.select(-1, 0).clamp(null, this.limit)
    const up = pairs.select(-1, 1).clamp(-this.limit, this.limit)
    const hidden = up.add(1).mul(gate.mul(gate.mul(alpha).sigmoid())) // [n, F]
    return hidden.matmul(down).add(downBias)
  }
}
