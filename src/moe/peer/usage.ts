// How evenly PEER's experts are used (arXiv:2407.04153, section on expert usage).
// Shapes: N experts.

import { noGrad, type Tensor, tidy, zeros } from '../../torch/index.ts'
import type { PeerRouting } from '../routing/peer.ts'

/** Sums over tokens and heads; those of several batches may be added up. Padding counts nowhere. */
export interface ExpertUsage {
  /** i64 [N]: how often each expert was retrieved. */
  counts: Tensor
  /** f64 [N]: the weights each expert was given. */
  mass: Tensor
}

export function expertUsage({ indices, weights, numExperts }: PeerRouting): ExpertUsage {
  return noGrad(() =>
    tidy(() => {
      const flat = indices.reshape([-1])
      const counts = flat.add(1).bincount(null, numExperts + 1) // first the empty slots (-1)
      const mass = zeros([numExperts + 1], { dtype: 'f64', device: indices.device })
      mass.indexAdd_(0, flat.add(1), weights.reshape([-1]).double())
      return { counts: counts.narrow(0, 1, numExperts), mass: mass.narrow(0, 1, numExperts) }
    }),
  )
}

/** Share of the experts that were retrieved at all, 0 to 1. */
export function usedShare({ counts }: ExpertUsage): number {
  return noGrad(() => tidy(() => counts.ne(0).double().mean().item()))
}

/**
 * `KL(z || uniform) = ln N + sum_i z_i ln z_i`, in nats, for z the mass over its sum: 0 when all experts are used
 * alike, ln N when only one is. 0 when none was used.
 */
export function unevenness({ mass }: ExpertUsage): number {
  return noGrad(() =>
    tidy(() => {
      const total = mass.sum().item()
      if (total === 0) return 0
      const z = mass.div(total)
      // 0 ln 0 = 0; the clamp stays below any positive z.
      return Math.log(mass.numel) + z.mul(z.clamp(1e-300).log()).sum().item()
    }),
  )
}

export interface UsageStats {
  numExperts: number
  /** See usedShare(). */
  used: number
  /** See unevenness(). */
  unevenness: number
}

/** The figures of a usage. */
export function usageStats(usage: ExpertUsage): UsageStats {
  return { numExperts: usage.counts.numel, used: usedShare(usage), unevenness: unevenness(usage) }
}
