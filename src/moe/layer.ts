// The MoE layer: Router -> Dispatch -> Experts -> Combine.
// Shapes: B batch, S sequence, T tokens in all, D model.

import { ConfigError } from '../errors.ts'
import { Module } from '../nn/index.ts'
import type { Tensor } from '../torch/index.ts'
import type { Dispatch, Experts } from './contracts.ts'
import { dropless } from './dispatch/dropless.ts'
import { keepMost } from './dispatch/skip.ts'
import type { Router, TokenContext } from './routers/router.ts'
import { type AnyRouting, kindOf, type Routing } from './routing/table.ts'
import type { TokenRouting } from './routing/token.ts'
import { startsOf } from './sequences.ts'

export interface MoeOutput<R extends AnyRouting = TokenRouting> {
  /** [..., D], shaped as the input. */
  y: Tensor
  /** What the router chose: losses are computed from this. */
  routing: R
  /** What was left of it after capacity; the same object when nothing can be dropped. */
  served: R
}

/** What a layer may be told about its tokens; each tensor is shaped [...] like the input without D. */
export interface LayerContext extends TokenContext {
  /** i64: most experts of each token, where tokens choose them. Default: as many as they chose. */
  mostExperts?: Tensor | null
}

/** The shape of what a router decides. */
export type RoutingOf<G> = G extends Router<infer R> ? R : never

/** `y_t = sum over t's experts of w_te expert_e(x_t)`. */
export class MoeLayer<
  G extends Module & Router<Routing> = Module & Router,
  X extends Module & Experts = Module & Experts,
> extends Module {
  readonly gate: G
  readonly experts: X
  /**
   * May be changed at any time, as for evaluation with another capacity; texts that are being written may go on as they began. Only
   * token routing has a use for it.
   */
  dispatch: Dispatch

  constructor(gate: G, experts: X, dispatch: Dispatch = dropless) {
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
   * Routes every token and mixes what its experts give.
   *
   * @param x [..., S, D] or [T, D]
   */
  forward(
    x: Tensor,
    { mask, ids, tasks, mostExperts = null, starts = startsOf(x) }: LayerContext = {},
  ): MoeOutput<RoutingOf<G>> {
    const { dispatch, experts, training } = this
    const xTD = x.reshape([-1, x.size(-1)])
    const idsT = ids?.reshape([-1]) ?? null
    const routing = this.gate.forward(xTD, {
      mask: mask?.reshape([-1]) ?? null,
      ids: idsT,
      tasks: tasks?.reshape([-1]) ?? null,
      starts,
    }) as RoutingOf<G> & Routing
    const chosen =
      mostExperts && routing.kind === 'token' ? keepMost(routing, mostExperts.reshape([-1])) : routing
    const { y, served } = kindOf(routing).mix(xTD, chosen as typeof routing, {
      dispatch,
      experts,
      training,
      starts,
      ids: idsT,
    })
    return { y: y.view(x.shape), routing, served }
  }

  /** Elements that one token does not use: of experts beyond its own, what each has for itself. */
  get inactiveParameters(): number {
    const all = this.experts.parameters()
    const stacked = all.filter(({ declaration }) => declaration.stacked)
    const own = stacked.length > 0 ? stacked : all // of modules, each is one expert's
    const elements = own.reduce((sum, { numel }) => sum + numel, 0)
    const { numExperts, active } = this.gate
    return Math.round((elements * (numExperts - active)) / numExperts)
  }

  /** See Router.adapt(). */
  adapt(pace = 1): void {
    this.gate.adapt?.(pace)
  }

  /** See Router.discard(). */
  discard(): void {
    this.gate.discard?.()
  }
}
