// Every policy at every capacity, on one recording.

import type { ExpertGrid } from '../cache/policy.ts'
import { createPolicy, defaultPolicy, type PolicyConfig, policyNames } from '../cache/table.ts'
import { createPrefetcher, type PrefetchConfig } from '../prefetch/table.ts'
import { countUses, mostNeeded, type RoutingChoices, type Step, stepsOf } from '../trace/choices.ts'
import { expertsOfPool, type PoolKind, type PoolPlan, planPools } from './pools.ts'
import { beladyOf, type Replay, replay } from './replay.ts'

/** Policies that a replay knows: those that run, and the one that knows the future. */
export const simulatedPolicies = [...policyNames, 'belady'] as const
export type SimulatedPolicy = (typeof simulatedPolicies)[number]

export interface SimulationOptions {
  /** Shares of the experts that fit, each above 0 and at most 1. */
  capacities: readonly number[]
  policies: readonly SimulatedPolicy[]
  pools: PoolKind
  /** How experts are read ahead of the suggested policy; not by routers, which a recording has not. Default: history. */
  prefetch?: PrefetchConfig
  /** Called with the share of the replays that is done. */
  onProgress?: (fraction: number) => void
}

export interface CapacityResult {
  /** Experts that fit into each pool. */
  capacity: number
  /** Hits where every expert is as likely as any: `capacity / experts`. */
  uniform: number
  /** Share of the needed experts that were resident. */
  hitRates: Partial<Record<SimulatedPolicy, number>>
  /** What is taken where no policy is asked for; and that with reading ahead, null where it is off. */
  suggested: Outcome & { policy: PolicyConfig['kind']; prefetch: PrefetchResult | null }
}

export interface Outcome {
  /** Share of the needed experts that were resident. */
  hitRate: number
  /** Experts read when needed, per token. */
  misses: number
}

/** With reading ahead, hits are also those that came by it. */
export interface PrefetchResult extends Outcome {
  /** Read ahead and used by the layer they were read for, per token. */
  useful: number
  /** Read ahead in vain, per token. */
  wasted: number
}

export interface Simulation {
  tokens: number
  /** Experts that could be in one pool. */
  poolExperts: number
  /** Experts needed per token, over all layers. */
  usesPerToken: number
  capacities: CapacityResult[]
}

/**
 * Replays a recording against policies, one at a time, between turns of the event loop.
 *
 * @throws ConfigError for prefetch that goes by a running model; FormatError for a file that holds no hints
 */
export async function simulateCache(
  choices: RoutingChoices,
  options: SimulationOptions,
): Promise<Simulation> {
  const steps = stepsOf(choices)
  const tokens = choices.positions.length
  const uses = steps.reduce((total, { needed }) => total + needed.length, 0)
  const grid = { ...choices, topK: mostNeeded(steps) }
  const poolExperts = expertsOfPool(options.pools, grid)
  const capacities: CapacityResult[] = []
  const rounds = options.capacities.length * (options.policies.length + 1)
  let done = 0
  const nextRound = async (): Promise<void> => {
    options.onProgress?.(++done / rounds)
    await new Promise(setImmediate)
  }
  for (const share of options.capacities) {
    const plan = planPools(options.pools, share, grid)
    const hitRates: CapacityResult['hitRates'] = {}
    for (const name of options.policies) {
      const { hits } = replay(steps, choices, plan, policyOf(name, steps, choices))
      hitRates[name] = hits / Math.max(1, uses)
      await nextRound()
    }
    const prefetch = options.prefetch ?? { kind: 'history' }
    const suggested = suggest(grid, steps, { plan, poolExperts, prefetch })
    capacities.push({ capacity: plan.capacity, uniform: plan.capacity / poolExperts, hitRates, suggested })
    await nextRound()
  }
  return { tokens, poolExperts, usesPerToken: uses / Math.max(1, tokens), capacities }
}

/**
 * The default policy at a capacity, alone and with reading ahead.
 */
function suggest(
  choices: RoutingChoices,
  steps: readonly Step[],
  { plan, poolExperts, prefetch }: { plan: PoolPlan; poolExperts: number; prefetch: PrefetchConfig },
): CapacityResult['suggested'] {
  const { experts, topK } = choices
  const perLayer = (plan.capacity / poolExperts) * experts
  const policy = defaultPolicy(perLayer, experts, topK)
  const alone = replay(steps, choices, plan, createPolicy(policy, choices))
  const prefetcher = createPrefetcher(prefetch, { grid: choices, topK, model: null })
  const ahead = prefetcher && replay(steps, choices, plan, createPolicy(policy, choices), prefetcher)
  const perToken = (count: number): number => count / Math.max(1, choices.positions.length)
  const outcome = ({ hits, uses }: Replay): Outcome => ({
    hitRate: hits / Math.max(1, uses),
    misses: perToken(uses - hits),
  })
  return {
    ...{ policy: policy.kind, ...outcome(alone) },
    prefetch: ahead && { ...outcome(ahead), useful: perToken(ahead.useful), wasted: perToken(ahead.wasted) },
  }
}

function policyOf(name: SimulatedPolicy, steps: readonly Step[], grid: ExpertGrid) {
  if (name === 'belady') return beladyOf(steps)
  if (name === 'static') return createPolicy({ kind: name, counts: countUses(grid, steps) }, grid)
  if (name === 'random') return createPolicy({ kind: name, seed: 0 }, grid)
  return createPolicy({ kind: name }, grid)
}
