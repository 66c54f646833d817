// RoutingStats: what a routing step did, in numbers.

import { sum } from './routing/counts.ts'
import { kindOf, type Routing } from './routing/table.ts'

/** How evenly, how surely and how completely tokens reached experts. */
export interface RoutingStats {
  /** Slots each expert served. */
  load: number[]
  /** Heaviest load over the mean: 1 is perfect balance, E the worst. */
  maxOverMean: number
  /** Coefficient of variation of the load, standard deviation over mean. */
  cv: number
  /** Experts that served no slot. */
  dead: number
  /** Share of chosen slots that capacity dropped; where experts choose, of tokens that no expert took. */
  dropped: number
  /** Mean entropy of the tokens' router probabilities, in nats: 0 is certain, ln E undecided. */
  entropy: number
  /** `exp(entropy of the load)`: how many equally loaded experts would spread as wide. */
  effectiveExperts: number
  /** Share of the load on the most loaded fifth of the experts (at least one). */
  topShare: number
  /** Share of the load on the least loaded fifth. */
  bottomShare: number
}

/**
 * What a routing did, in numbers: each that is read waits for the device.
 *
 * @param chosen the router's decision
 * @param served what is left of it after capacity; default: all
 */
export function routingStats<R extends Routing>(chosen: R, served: R = chosen): RoutingStats {
  const kind = kindOf(chosen)
  return {
    ...loadStats(kind.load(served)),
    dropped: kind.dropped(chosen, served),
    entropy: kind.entropy(chosen),
  }
}

/** The statistics that follow from the load alone. */
export function loadStats(load: number[]): Omit<RoutingStats, 'dropped' | 'entropy'> {
  const total = sum(load)
  const mean = total / load.length
  const sorted = [...load].sort((a, b) => b - a)
  const fifth = Math.max(1, Math.round(load.length / 5))
  const share = (part: number[]): number => (total === 0 ? 0 : sum(part) / total)
  const variance = sum(load.map(count => (count - mean) ** 2)) / load.length
  return {
    load,
    maxOverMean: total === 0 ? 1 : (sorted[0] ?? 0) / mean,
    cv: total === 0 ? 0 : Math.sqrt(variance) / mean,
    dead: load.filter(count => count === 0).length,
    effectiveExperts: Math.exp(sum(load.map(count => entropyTerm(total === 0 ? 0 : count / total)))),
    topShare: share(sorted.slice(0, fifth)),
    bottomShare: share(sorted.slice(-fifth)),
  }
}

const entropyTerm = (p: number): number => (p === 0 ? 0 : -p * Math.log(p))
