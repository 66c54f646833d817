// The MoE layer: Router -> Dispatch -> Experts -> Combine.
// Shapes: B batch, S sequence, T = B*S tokens, D model.

import { ConfigError } from '../errors.ts'
import { Module } from '../nn/index.ts'
import type { Tensor } from '../torch/index.ts'
import { type CapacityOptions, dropBeyondCapacity, expertCapacity } from './dispatch/capacity.ts'
import { sortedDispatch } from './dispatch/sorted.ts'
import type { Experts } from './experts/experts.ts'
import { referenceMoe } from './reference.ts'
import type { Router, TokenRouting } from './routing.ts'

/** How tokens reach their experts. */
export type DispatchOptions =
  /** No token is dropped. */
  | { kind: 'dropless' }
  /** Experts take a bounded number of tokens; see CapacityOptions. */
  | ({ kind: 'capacity' } & CapacityOptions)
  /** A loop over all experts and tokens: slow, for comparison. */
  | { kind: 'reference' }

export interface MoeOutput {
  /** [..., D], shaped as the input. */
  y: Tensor
  /** What the router chose: losses are computed from this. */
  routing: TokenRouting
  /** What was left of it after capacity; the same object when nothing can be dropped. */
  served: TokenRouting
}

/** `y_t = sum over t's experts of w_te expert_e(x_t)`. */
export class MoeLayer<
  R extends Module & Router = Module & Router,
  X extends Module & Experts = Module & Experts,
> extends Module {
  readonly gate: R
  readonly experts: X
  /** May be changed at any time, as for evaluation with another capacity. */
  dispatch: DispatchOptions

  constructor(gate: R, experts: X, dispatch: DispatchOptions = { kind: 'dropless' }) {
    super()
    if (gate.numExperts !== experts.numExperts) {
      throw new ConfigError(
        `the router chooses among ${gate.numExperts} experts, but there are ${experts.numExperts}`,
        { path: 'numExperts' },
      )
    }
    this.gate = gate
    this.experts = experts
    this.dispatch = dispatch
  }

  /**
   * @param x [..., D]
   * @param mask bool [...], false for padding
   */
  forward(x: Tensor, mask: Tensor | null = null): MoeOutput {
    const xTD = x.reshape([-1, x.size(-1)])
    const routing = this.gate.forward(xTD, mask?.reshape([-1]) ?? null)
    const served = this.#withinCapacity(routing)
    return { y: this.#compute(xTD, served).view(x.shape), routing, served }
  }

  #withinCapacity(routing: TokenRouting): TokenRouting {
    if (this.dispatch.kind !== 'capacity') return routing
    const [tokens, topK] = routing.indices.shape as [number, number]
    return dropBeyondCapacity(
      routing,
      expertCapacity({ tokens, numExperts: this.gate.numExperts, topK }, this.dispatch),
    )
  }

  #compute(xTD: Tensor, routing: TokenRouting): Tensor {
    if (this.dispatch.kind === 'reference') return referenceMoe(xTD, routing, this.experts)
    const mixed = this.experts.mixture?.(xTD, routing)
    if (mixed) return mixed
    const { x, counts, combine } = sortedDispatch(xTD, routing)
    return combine(this.experts.forward(x, counts))
  }
}
