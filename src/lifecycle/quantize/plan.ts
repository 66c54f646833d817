// The types of all matrices that lose least within a budget of bytes.

import { invariant } from '../../errors.ts'
import type { TensorGroup, TypeOption } from './sensitivity.ts'

/** Columns of the table at most: with more, bytes are counted in larger units. */
const mostUnits = 1 << 14

/**
 * Minimises `sum_g error_g(type_g)` subject to `sum_g bytes_g(type_g) <= budget`: the multiple-choice knapsack of MC-MoE
 * (arXiv:2410.06270, equation 5), which needs no solver, by dynamic programming over bytes beyond the cheapest choice,
 *
 * `best_g(b) = min over options o of best_{g-1}(b - bytes_o) + error_o`
 *
 * Bytes are counted in units of their greatest common divisor, and then the result is exact; where that makes too many,
 * in larger ones, rounded up, so that the budget holds.
 *
 * @param budget at least what the cheapest choices take
 * @returns the chosen option of each group
 */
export function planTypes(groups: readonly Pick<TensorGroup, 'options'>[], budget: number): TypeOption[] {
  const least = groups.map(({ options }) => Math.min(...options.map(({ bytes }) => bytes)))
  const room = budget - least.reduce((a, b) => a + b, 0)
  invariant(room >= 0, 'the budget is below what the cheapest types take')
  const extras = groups.map(({ options }, g) => options.map(({ bytes }) => bytes - (least[g] ?? 0)))
  const most = extras.reduce((sum, extra) => sum + Math.max(...extra), 0)
  const unit = unitOf(extras.flat(), Math.min(room, most))
  const capacity = Math.floor(Math.min(room, most) / unit)
  const costs = extras.map(extra => extra.map(bytes => Math.ceil(bytes / unit)))
  return walkBack(groups, costs, fillTable(groups, costs, capacity))
}

function unitOf(bytes: readonly number[], room: number): number {
  const divisor = bytes.reduce((a, b) => greatestCommonDivisor(a, b), 0)
  return Math.max(1, divisor, Math.ceil(room / mostUnits))
}

const greatestCommonDivisor = (a: number, b: number): number =>
  b === 0 ? a : greatestCommonDivisor(b, a % b)

/** `[groups][capacity + 1]`: the option of each group that is best within so many units for it and all before it. */
function fillTable(
  groups: readonly Pick<TensorGroup, 'options'>[],
  costs: readonly number[][],
  capacity: number,
): Uint8Array[] {
  let best = new Float64Array(capacity + 1)
  return groups.map(({ options }, g) => {
    const [next, chosen] = [new Float64Array(capacity + 1).fill(Infinity), new Uint8Array(capacity + 1)]
    for (const [o, { error }] of options.entries()) {
      const cost = costs[g]?.[o] ?? 0
      for (let units = cost; units <= capacity; units++) {
        const sum = (best[units - cost] ?? Infinity) + error
        if (sum >= (next[units] ?? Infinity)) continue
        next[units] = sum
        chosen[units] = o
      }
    }
    best = next
    return chosen
  })
}

/** The choices that led to the last entry of the last row. */
function walkBack(
  groups: readonly Pick<TensorGroup, 'options'>[],
  costs: readonly number[][],
  table: readonly Uint8Array[],
): TypeOption[] {
  let units = (table.at(-1)?.length ?? 1) - 1
  const chosen: TypeOption[] = []
  for (let g = groups.length - 1; g >= 0; g--) {
    const o = table[g]?.[units] ?? 0
    chosen.unshift(groups[g]?.options[o] as TypeOption)
    units -= costs[g]?.[o] ?? 0
  }
  return chosen
}
