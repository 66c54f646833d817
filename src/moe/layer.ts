// The MoE layer: Router -> Dispatch -> Experts -> Combine.
// Shapes: B batch, S sequence, T = B*S tokens, D model.

import { ConfigError } from '../errors.ts'
import { Module } from '../nn/index.ts'
import type { Tensor } from '../torch/index.ts'
import { type CapacityOptions, expertCapacity } from './dispatch/capacity.ts'
import { dropBeyondCapacity } from './dispatch/drop.ts'
import { mixExpertChoice } from './dispatch/expert-choice.ts'
import { mixSoft } from './dispatch/soft.ts'
import { sortedDispatch } from './dispatch/sorted.ts'
import type { Experts } from './experts/experts.ts'
import { referenceMoe } from './reference.ts'
import type { AnyRouting, Router, Routing, TokenContext, TokenRouting } from './routing.ts'

/** How tokens reach their experts. */
export type DispatchOptions =
  /** No token is dropped. */
  | { kind: 'dropless' }
  /** Experts take a bounded number of tokens; see CapacityOptions. */
  | ({ kind: 'capacity' } & CapacityOptions)
  /** Experts take `slots` tokens of each sequence or of the batch; earlier tokens come first. */
  | { kind: 'fixed-capacity'; slots: number; per: 'sequence' | 'batch' }
  /** A loop over all experts and tokens: slow, for comparison. */
  | { kind: 'reference' }

export interface MoeOutput<R extends AnyRouting = TokenRouting> {
  /** [..., D], shaped as the input. */
  y: Tensor
  /** What the router chose: losses are computed from this. */
  routing: R
  /** What was left of it after capacity; the same object when nothing can be dropped. */
  served: R
}

/** What a layer may be told about its tokens; each tensor is shaped [...] like the input without D. */
export type LayerContext = Pick<TokenContext, 'mask' | 'ids' | 'tasks'> & { starts?: readonly number[] }

/** The shape of what a router decides. */
export type RoutingOf<G> = G extends Router<infer R> ? R : never

/** `y_t = sum over t's experts of w_te expert_e(x_t)`. */
export class MoeLayer<
  G extends Module & Router<Routing> = Module & Router,
  X extends Module & Experts = Module & Experts,
> extends Module {
  readonly gate: G
  readonly experts: X
  /** May be changed at any time, as for evaluation with another capacity. Only token routing has a use for it. */
  dispatch: DispatchOptions

  constructor(gate: G, experts: X, dispatch: DispatchOptions = { kind: 'dropless' }) {
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

  /** @param x [..., S, D] or [T, D] */
  get inactiveParameters(): number {
    const all = [...this.experts.declarations().values()].reduce(
      (s, d) => s + d.shape.reduce((a, b) => a * b, 1),
      0,
    )
    return (all * (this.gate.numExperts - this.gate.active)) / this.gate.numExperts
  }

  forward(x: Tensor, { mask, ids, tasks, starts }: LayerContext = {}): MoeOutput<RoutingOf<G>> {
    const S = starts ? (starts[1] ?? 0) : x.size(-2)
    const xTD = x.reshape([-1, x.size(-1)])
    const routing = this.gate.forward(xTD, {
      mask: mask?.reshape([-1]) ?? null,
      ids: ids?.reshape([-1]) ?? null,
      tasks: tasks?.reshape([-1]) ?? null,
      sequenceLength: S,
    }) as RoutingOf<G> & Routing
    const served = this.#withinCapacity(routing, S) as RoutingOf<G> & Routing
    return { y: this.#compute(xTD, served).view(x.shape), routing, served }
  }

  /** See Router.adapt(). */
  adapt(pace = 1): void {
    this.gate.adapt?.(pace)
  }

  /** See Router.discard(). */
  discard(): void {
    this.gate.discard?.()
  }

  #withinCapacity(routing: Routing, sequenceLength: number): Routing {
    const { dispatch } = this
    if (routing.kind !== 'token') return routing
    if (dispatch.kind === 'fixed-capacity') {
      const group = dispatch.per === 'sequence' ? { groupSize: sequenceLength } : {}
      return dropBeyondCapacity(routing, dispatch.slots, group)
    }
    if (dispatch.kind !== 'capacity') return routing
    const [tokens, topK] = routing.indices.shape as [number, number]
    const sizes = { tokens, numExperts: this.gate.numExperts, topK }
    return dropBeyondCapacity(routing, expertCapacity(sizes, dispatch, this.training), dispatch)
  }

  #compute(xTD: Tensor, routing: Routing): Tensor {
    switch (routing.kind) {
      case 'token':
        return this.#mixTokens(xTD, routing)
      case 'expert':
        return mixExpertChoice(xTD, routing, this.experts)
      case 'soft':
        return mixSoft(xTD, routing, this.experts)
    }
  }

  #mixTokens(xTD: Tensor, routing: TokenRouting): Tensor {
    if (this.dispatch.kind === 'reference') return referenceMoe(xTD, routing, this.experts)
    const mixed = this.experts.mixture?.(xTD, routing)
    if (mixed) return mixed
    const { x, counts, combine } = sortedDispatch(xTD, routing)
    return combine(this.experts.forward(x, counts))
  }
}
