// Experts in groups of which a token uses only the best, so that it reaches few devices (DeepSeek-V2, -V3).
// Shapes: T tokens, E experts, G groups.

import { ConfigError } from '../../errors.ts'
import { type Tensor, zeros } from '../../torch/index.ts'
import { largest } from './linear.ts'

/**
 * The scores with -inf for experts outside of each token's `topGroups` groups. A group counts as the sum of its `best`
 * largest scores: 1 in DeepSeek-V2 (arXiv:2405.04434 section 2.2.2), 2 in V3 (arXiv:2412.19437 section 2.1.2).
 *
 * Excluded experts get -inf: a zero, as some implementations have it, wins against negative scores.
 */
export function withinBestGroups(scoresTE: Tensor, groups: number, topGroups: number, best: number): Tensor {
  if (topGroups === groups) return scoresTE
  const [tokens, experts] = scoresTE.shape as [number, number]
  const grouped = scoresTE.view([tokens, groups, experts / groups]) // [T, G, E/G]
  const worth = grouped.topk(Math.min(best, grouped.size(-1)), -1)[0].sum(-1) // [T, G]
  const kept = zeros(worth.shape, { dtype: 'bool', device: worth.device }).scatter_(
    -1,
    largest(worth, topGroups),
    1,
  )
  return grouped.maskedFill(kept.logicalNot().unsqueeze(-1), -Infinity).view(scoresTE.shape)
}

/** Throws ConfigError unless groups divide the experts, and there are `topGroups` of them. */
export function checkGroups(numExperts: number, groups: number, topGroups: number): void {
  if (!Number.isInteger(groups) || groups < 1 || numExperts % groups !== 0) {
    throw new ConfigError(`must divide the ${numExperts} experts, got ${groups}`, { path: 'router.groups' })
  }
  if (!Number.isInteger(topGroups) || topGroups < 1 || topGroups > groups) {
    throw new ConfigError(`must be in 1..${groups} (the number of groups), got ${topGroups}`, {
      path: 'router.topGroups',
    })
  }
}
