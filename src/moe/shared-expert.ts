// An expert that every token passes, beside the ones that a router chooses.
// Shapes: T tokens, D model, E routed experts.

import { type Activation, GatedMlp, Linear, type Module } from '../nn/index.ts'
import type { Tensor } from '../torch/index.ts'
import { checkWhole } from './checks.ts'
import type { Experts } from './contracts.ts'
import { type LayerContext, MoeLayer, type MoeOutput, type RoutingOf } from './layer.ts'
import type { Router } from './routers/router.ts'
import type { Routing } from './routing/table.ts'

export interface SharedExpertOptions {
  hiddenSize: number
  /** Width of the shared expert. K_s shared experts of width F are one of width `K_s F`: their outputs add up. */
  intermediateSize: number
  /** Default silu (SwiGLU). */
  activation?: Activation
  /** Weigh the shared expert by a sigmoid of its own, as Qwen2-MoE does. Default false. */
  gated?: boolean
}

/**
 * `y = shared(x) + sum_k w_k expert_k(x)` (DeepSeekMoE, arXiv:2401.06066 equation 9, without its residual), or with
 * `sigmoid(g.x) shared(x)` when gated (transformers, models/qwen2_moe/modeling_qwen2_moe.py, Qwen2MoeSparseMoeBlock).
 * Made by withSharedExpert().
 */
export class SharedExpertMoe<
  R extends Module & Router<Routing> = Module & Router,
  X extends Module & Experts = Module & Experts,
> extends MoeLayer<R, X> {
  readonly shared_expert: GatedMlp
  readonly shared_expert_gate: Linear | null // [1, D]
  /** Of the gate. May be changed at any time: see scoreSteadily(). */
  sigmoid: (x: Tensor) => Tensor = x => x.sigmoid()

  constructor(layer: MoeLayer<R, X>, options: SharedExpertOptions) {
    super(layer.gate, layer.experts, layer.dispatch)
    const { hiddenSize, intermediateSize, activation, gated = false } = options
    checkWhole(intermediateSize, 1, 'sharedExpert.intermediateSize')
    this.shared_expert = new GatedMlp(hiddenSize, intermediateSize, activation, 'shared')
    this.shared_expert_gate = gated ? new Linear(hiddenSize, 1, { bias: false, role: 'shared' }) : null
  }

  override forward(x: Tensor, context: LayerContext = {}): MoeOutput<RoutingOf<R>> {
    const routed = super.forward(x, context)
    return { ...routed, y: routed.y.add(this.#shared(x, context.mask ?? null)) }
  }

  /** [..., D] -> [..., D], zero for padding as what the routed experts give. */
  #shared(x: Tensor, mask: Tensor | null): Tensor {
    const y = this.shared_expert.forward(x)
    const weighted = this.shared_expert_gate ? y.mul(this.sigmoid(this.shared_expert_gate.forward(x))) : y
    return mask === null ? weighted : weighted.maskedFill(mask.logicalNot().unsqueeze(-1), 0)
  }
}

/**
 * A new layer of this one's router, experts and dispatch, with a shared expert beside them. Beside `gate` and `experts`
 * its parameters are `shared_expert` and, when gated, `shared_expert_gate`, as in transformers' Qwen2-MoE.
 */
export function withSharedExpert<R extends Module & Router<Routing>, X extends Module & Experts>(
  layer: MoeLayer<R, X>,
  options: SharedExpertOptions,
): SharedExpertMoe<R, X> {
  return new SharedExpertMoe(layer, options)
}
