// Heads of tokens retrieve experts.
// Shapes: T tokens, N experts, h heads, k experts per head.

import type { Tensor } from '../../torch/index.ts'
import { countIndices, countPairs } from './counts.ts'
import type { RoutingKind } from './kind.ts'
import { emptied } from './slots.ts'

/** Which experts each head of a token retrieved. There are no scores of all experts: PEER never computes them. */
export interface PeerRouting {
  kind: 'peer'
  /** i64 [T, h, k]: the experts of each head, best first; -1 for padding. */
  indices: Tensor
  /** [T, h, k], f32 or wider: what each expert's output counts; 0 for padding. */
  weights: Tensor
  numExperts: number
}

/** How evenly experts are used is in peer/usage.ts. */
export const peerKind: RoutingKind<PeerRouting> = {
  load: ({ indices, numExperts }) => countIndices(indices, numExperts),
  loadByDomain: ({ indices, numExperts }, domains, numDomains) =>
    countPairs(domains.view([-1, 1, 1]), indices, indices.ge(0), numDomains, numExperts),
}

/** Empties the slots of padding, which is false in mask [T]. */
export function withoutPaddedHeads(routing: PeerRouting, mask: Tensor | null): PeerRouting {
  return mask === null ? routing : emptied(routing, mask.logicalNot().view([-1, 1, 1]))
}
