// Mixtures of experts in layers, each with a gate of its own: paths through E x E experts (Eigen, Ranzato and Sutskever,
// arXiv:1312.4314).
// Shapes: T samples, D inputs, O outputs, E experts.

import { Buffer, Linear, Module } from '../../nn/index.ts'
import { noGrad, stack, type Tensor, tidy } from '../../torch/index.ts'

export interface MixtureLayerOptions {
  inputs: number
  outputs: number
  experts: number
  /** Width of the gate's hidden layer. */
  gateWidth: number
  /**
   * How much more than the mean an expert may have been given before it has to wait; null: any. While training alone. The paper lifts it
   * for a last phase, when experts have found their use.
   */
  margin: number | null
}

/** `z = sum_i g_i(x) relu(W_i x + b_i)`, `g = softmax(V tanh(U x))`. */
export class MixtureLayer extends Module {
  readonly experts: Linear[]
  readonly hidden: Linear
  readonly gate: Linear
  /** Sums of g over the samples that were learnt from: [E]. */
  readonly given: Buffer
  /** See MixtureLayerOptions. May be changed at any time. */
  margin: number | null

  constructor({ inputs, outputs, experts, gateWidth, margin }: MixtureLayerOptions) {
    super()
    this.experts = Array.from({ length: experts }, () => new Linear(inputs, outputs))
    this.hidden = new Linear(inputs, gateWidth)
    this.gate = new Linear(gateWidth, experts)
    this.given = new Buffer([experts])
    this.margin = margin
  }

  /** x [T, D] -> [T, O], and the shares of the experts [T, E] */
  forward(x: Tensor): { z: Tensor; shares: Tensor } {
    return tidy(() => {
      const shares = this.#bounded(this.gate.forward(this.hidden.forward(x).tanh()).softmax(-1))
      const outputs = stack(
        this.experts.map(expert => expert.forward(x).relu()),
        1,
      ) // [T, E, O]
      return { z: outputs.mul(shares.unsqueeze(-1)).sum([1]), shares }
    })
  }

  /** Experts that were given more than the mean by a margin get nothing of this batch, unless that would be all of them. */
  #bounded(shares: Tensor): Tensor {
    if (!this.training || this.margin === null) return shares
    const excess = this.given.sub(this.given.mean())
    const isOpen = excess.le(this.margin)
    const open = isOpen.any().item() ? isOpen.to(shares.dtype) : isOpen.to(shares.dtype).fill_(1)
    const kept = shares.mul(open)
    const bounded = kept.div(kept.sum([-1], true).clamp(1e-12))
    noGrad(() => this.given.add_(bounded.detach().sum([0])))
    return bounded
  }
}
