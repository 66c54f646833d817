// What the rest of the toolkit asks of a decision, whatever its kind: each kind answers in a file of its own.
// Shapes: T tokens, D model, E experts.

import type { Tensor } from '../../torch/index.ts'
import type { Dispatch, DispatchContext, Experts, Mixed } from '../contracts.ts'

/** What is known of any decision. */
export interface RoutingKind<R> {
  /** Slots that each expert serves: E numbers. */
  load(served: R): number[]
  /** What each expert did for the tokens of each domain: [domains, E], of domains i64 [T]. */
  loadByDomain(served: R, domains: Tensor, numDomains: number): Tensor
}

/** And of what a router decides, for experts that are chosen apart from it. */
export interface RouterKind<R> extends RoutingKind<R> {
  /** The share that no expert served, of slots or of tokens. */
  dropped(chosen: R, served: R): number
  /** Mean entropy of the tokens' probabilities, in nats. */
  entropy(chosen: R): number
  /** The experts' outputs, weighed as was decided: x [T, D] -> y [T, D]. */
  mix(x: Tensor, chosen: R, by: MixedBy): Mixed<R>
}

/** Who computes. */
export interface MixedBy extends DispatchContext {
  experts: Experts
  dispatch: Dispatch
}
