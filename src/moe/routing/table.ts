// What a layer of experts decides, as plain data: of three kinds where a router does, of one of its own in PEER.

import { type Tensor, tidy } from '../../torch/index.ts'
import { type ExpertRouting, expertKind } from './expert.ts'
import type { RouterKind, RoutingKind } from './kind.ts'
import { type PeerRouting, peerKind } from './peer.ts'
import { type SoftRouting, softKind } from './soft.ts'
import { type TokenRouting, tokenKind } from './token.ts'

/** What routers decide. */
export type Routing = TokenRouting | ExpertRouting | SoftRouting
/** What any layer of experts decides. */
export type AnyRouting = Routing | PeerRouting

/** The only place that tells kinds apart. */
const routingKinds = { token: tokenKind, expert: expertKind, soft: softKind, peer: peerKind } as const

/** What is known of a decision by its kind. */
export function kindOf<R extends Routing>(routing: R): RouterKind<R>
export function kindOf<R extends AnyRouting>(routing: R): RoutingKind<R>
export function kindOf<R extends AnyRouting>({ kind }: R): RoutingKind<R> {
  return routingKinds[kind] as unknown as RoutingKind<R>
}

/** Slots that each expert serves. */
export function countPerExpert(served: AnyRouting): number[] {
  return kindOf(served).load(served)
}

/**
 * How much each expert did for each domain: slots served, [domains, E]. Where everything mixes, the tokens whose output
 * an expert gave, in parts.
 *
 * @param domains i64 [T]
 */
export function loadByDomain(served: AnyRouting, domains: Tensor, numDomains: number): Tensor {
  return tidy(() => kindOf(served).loadByDomain(served, domains, numDomains))
}
