// Counting decisions, with -1 for none.

import { type Tensor, tidy } from '../../torch/index.ts'

/** How often each of 0 .. count - 1 occurs. */
export function countIndices(indices: Tensor, count: number): number[] {
  return tidy(() => numbers(occurrences(indices, count)))
}

/** The same where the indices are: i64 [count]. */
export function occurrences(indices: Tensor, count: number): Tensor {
  const all = indices
    .reshape([-1])
    .add(1)
    .bincount(null, count + 1) // first the empty slots (-1)
  return all.narrow(0, 1, count)
}

/** How often each domain meets each expert where `counts` is true: [domains, experts]. */
export function countPairs(
  domains: Tensor,
  experts: Tensor,
  counts: Tensor,
  numDomains: number,
  numExperts: number,
): Tensor {
  const codes = domains.mul(numExperts).add(experts)
  return codes
    .maskedSelect(counts)
    .bincount(null, numDomains * numExperts)
    .view([numDomains, numExperts])
}

export const numbers = (counts: Tensor): number[] => Array.from(counts.toTypedArray<'i64'>(), Number)

export const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)

/** Share of what was wanted that was not served. */
export const unserved = (wanted: number, served: number): number => (wanted === 0 ? 0 : 1 - served / wanted)
