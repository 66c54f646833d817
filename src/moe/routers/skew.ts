// Routers whose load is uneven from the start, as a trained model's is: rows of unequal length.
// E experts, K chosen per token.

import { tensor, tidy } from '../../torch/index.ts'

/**
 * Most of all tokens that one expert gets. Half is all that a linear score can give: over inputs without a mean it is
 * negative as often as positive.
 */
const most = 0.4

/** Whether loads can differ: the mean load `K / E` has to be below what one expert gets at most. */
export function canBeSkewed(numExperts: number, active: number): boolean {
  return active < most * numExperts
}

/**
 * The share of all tokens that goes to each rank, largest first: Zipf's `P_r = c r^-S`, at most 0.4, of sum K.
 *
 * @param exponent S, from 0 (all alike)
 */
export function skewedLoads(numExperts: number, active: number, exponent: number): number[] {
  const zipf = Array.from({ length: numExperts }, (_, rank) => (rank + 1) ** -exponent)
  // Ranks that reach the most are the first ones; what they leave is for the others.
  for (let full = 0; ; full++) {
    const rest = active - full * most
    const sum = zipf.slice(full).reduce((total, weight) => total + weight, 0)
    const loads = zipf.map((weight, rank) => (rank < full ? most : (rest * weight) / sum))
    if ((loads[full] ?? 0) <= most) return loads
  }
}

/**
 * What the rows of a router of equal rows are multiplied with to have these loads, by rank.
 *
 * Scores of inputs without a mean and rows drawn alike are normal. Were the K-th largest score of a token always `z`, rank
 * r would pass it with `P_r` at the scale `a_r = z / Q^-1(P_r)`, `Q` the normal's upper tail; and `z = Q^-1(K / E)` leaves
 * equal rows as they are. The K-th score varies, so that loads are off by a few hundredths for 8 experts, and by less for
 * more of them (see skew.test.ts).
 */
export function skewedScales(numExperts: number, active: number, exponent: number): number[] {
  const [threshold = 1, ...quantiles] = upperQuantiles([
    active / numExperts,
    ...skewedLoads(numExperts, active, exponent),
  ])
  return quantiles.map(quantile => threshold / quantile)
}

/** `Q^-1(P) = sqrt(2) erfinv(1 - 2 P)`. */
function upperQuantiles(shares: readonly number[]): number[] {
  return tidy(() => {
    const inner = tensor(
      shares.map(share => 1 - 2 * share),
      { dtype: 'f64' },
    )
    return Array.from(inner.erfinv().mul(Math.SQRT2).toTypedArray<'f64'>())
  })
}
