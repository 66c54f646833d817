// What training further has changed: losses by domain, and which experts are used.
// Shapes: E experts.

import type { Evaluation } from './evaluate.ts'

/** Two models on the same text. */
export interface Shift {
  domains: {
    name: string
    /** Nats per token. */
    before: number
    after: number
    /** Above 0 where the model has forgotten. */
    change: number
  }[]
  /** How far the shares of experts have moved in each layer that has them, in bits: 0 not at all, 1 to other experts. */
  experts: { layer: number; divergence: number }[]
}

/** The shift between two evaluations over the same windows. */
export function shiftBetween(before: Evaluation, after: Evaluation): Shift {
  const losses = new Map(before.domains.map(({ name, loss }) => [name, loss]))
  return {
    domains: after.domains.flatMap(({ name, loss }) => {
      const earlier = losses.get(name)
      return earlier === undefined ? [] : [{ name, before: earlier, after: loss, change: loss - earlier }]
    }),
    experts: after.moeLayers.flatMap((layer, i) => {
      const [one, other] = [before.expertLoad[i], after.expertLoad[i]].map(loads => totals(loads ?? []))
      return one?.length && one.length === other?.length
        ? [{ layer, divergence: jensenShannon(one, other) }]
        : []
    }),
  }
}

/** What each expert served, of all domains: [E]. */
const totals = (loads: readonly (readonly number[])[]): number[] =>
  loads
    .filter(load => load.length > 0)
    .reduce<number[]>((sums, load) => load.map((value, e) => value + (sums[e] ?? 0)), [])

/** `(KL(p, m) + KL(q, m)) / 2` with `m = (p + q) / 2`, in bits (Lin, 1991); weights need not sum to 1. */
export function jensenShannon(p: readonly number[], q: readonly number[]): number {
  const [P, Q] = [p, q].map(shares) as [number[], number[]]
  const half = (one: readonly number[], other: readonly number[]): number =>
    one.reduce(
      (sum, share, e) => (share > 0 ? sum + share * Math.log2((2 * share) / (share + (other[e] ?? 0))) : sum),
      0,
    )
  return Math.max(0, (half(P, Q) + half(Q, P)) / 2)
}

function shares(weights: readonly number[]): number[] {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return weights.map(weight => (total > 0 ? weight / total : 0))
}
