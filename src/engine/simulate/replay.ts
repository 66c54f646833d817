// A recording run again through caches of experts: what would have been there, and what would have been read.

import { BeladyPolicy } from '../cache/belady.ts'
import type { CachePolicy, ExpertGrid } from '../cache/policy.ts'
import type { ExpertPool } from '../cache/pool.ts'
import type { Step } from '../trace/choices.ts'
import { makePools, type PoolPlan } from './pools.ts'
import type { Prefetcher } from './prefetch.ts'

export interface Replay {
  /** Experts that were needed. */
  uses: number
  /** Of them, those that were resident. */
  hits: number
  /** Read ahead of a layer, and used there. */
  useful: number
  /** Read ahead of a layer, and not used there. */
  wasted: number
}

/**
 * Replays steps in order. What a step needs is pinned while it runs, so that nothing goes that is about to be used.
 *
 * @param prefetcher reads ahead for the layer after the one that ran. Default: nobody does
 */
export function replay(
  steps: readonly Step[],
  { layers }: ExpertGrid,
  plan: PoolPlan,
  policy: CachePolicy,
  prefetcher: Prefetcher | null = null,
): Replay {
  const pools = makePools(plan, layers, policy)
  const result: Replay = { uses: 0, hits: 0, useful: 0, wasted: 0 }
  let ahead = new Set<number>()
  for (const step of steps) {
    if (step.begins) policy.begin?.()
    const used = step.needed.filter(expert => ahead.has(expert)).length
    result.useful += used
    result.wasted += ahead.size - used
    result.uses += step.needed.length
    result.hits += runStep(step, pools[step.layer] as ExpertPool)
    prefetcher?.observe(step)
    ahead = prefetcher === null ? ahead : readAhead(step, prefetcher, pools)
  }
  result.wasted += ahead.size
  return result
}

/** How many of the needed experts were resident; all are, in the end. */
function runStep({ needed, now }: Step, pool: ExpertPool): number {
  const pinned = new Set(needed)
  let hits = 0
  for (const expert of needed) {
    if (pool.has(expert)) {
      pool.use(expert, now)
      hits += 1
    } else pool.admit(expert, now, pinned)
  }
  return hits
}

/** What is read now for the next layer. In a shared pool it takes no place of what this step needs. */
function readAhead(step: Step, prefetcher: Prefetcher, pools: readonly ExpertPool[]): Set<number> {
  const pool = pools[step.layer + 1]
  if (pool === undefined) return new Set()
  const predicted = prefetcher.predict(step)
  const pinned = new Set([...predicted, ...step.needed])
  const read = new Set<number>()
  for (const expert of predicted) {
    if (pool.has(expert) || !pool.hasRoom(pinned)) continue
    pool.admit(expert, step.now, pinned)
    read.add(expert)
  }
  return read
}

/** The policy that knows these steps beforehand. */
export function beladyOf(steps: readonly Step[]): BeladyPolicy {
  const times = new Map<number, number[]>()
  for (const { needed, now } of steps) {
    for (const expert of needed) {
      const known = times.get(expert)
      if (known) known.push(now)
      else times.set(expert, [now])
    }
  }
  return new BeladyPolicy(times)
}
