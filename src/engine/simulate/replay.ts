// A recording run again through caches of experts: what would have been there, and what would have been read.

import { BeladyPolicy } from '../cache/belady.ts'
import type { CachePolicy, ExpertGrid } from '../cache/policy.ts'
import type { ExpertPool } from '../cache/pool.ts'
import type { Prefetcher } from '../prefetch/prefetcher.ts'
import type { Step } from '../trace/choices.ts'
import { makePools, type PoolPlan } from './pools.ts'

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
 * @param prefetcher reads ahead for the layers after the one that ran. Default: nobody does
 */
export function replay(
  steps: readonly Step[],
  { layers, experts }: ExpertGrid,
  plan: PoolPlan,
  policy: CachePolicy,
  prefetcher: Prefetcher | null = null,
): Replay {
  const pools = makePools(plan, layers, policy)
  const result: Replay = { uses: 0, hits: 0, useful: 0, wasted: 0 }
  const guesses = new Set<number>()
  for (const step of steps) {
    if (step.begins) policy.begin?.()
    if (step.layer === 0 && prefetcher?.foresee)
      readAhead({ ...step, needed: [] }, prefetcher.foresee(step.ids), { pools, experts, guesses })
    judge(step, guesses, experts, result)
    result.uses += step.needed.length
    result.hits += runStep(step, pools[step.layer] as ExpertPool)
    prefetcher?.observe(step)
    if (prefetcher) readAhead(step, prefetcher.predict(step), { pools, experts, guesses })
  }
  result.wasted += guesses.size
  return result
}

/** What was read ahead for this layer was used by it, or was not. */
function judge({ layer, needed }: Step, guesses: Set<number>, experts: number, result: Replay): void {
  for (const expert of guesses) {
    if (Math.floor(expert / experts) !== layer) continue
    guesses.delete(expert)
    result[needed.includes(expert) ? 'useful' : 'wasted'] += 1
  }
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

interface Ahead {
  pools: readonly ExpertPool[]
  /** Of each layer. */
  experts: number
  /** Read ahead, for layers that have not run. */
  guesses: Set<number>
}

/** What is read now for the next layers. It takes no place of what this step needs, nor of other guesses. */
function readAhead(step: Step, predicted: readonly number[], { pools, experts, guesses }: Ahead): void {
  const pinned = new Set([...predicted, ...guesses, ...step.needed])
  for (const expert of predicted) {
    const pool = pools[Math.floor(expert / experts)] as ExpertPool
    if (pool.has(expert) || !pool.hasRoom(pinned)) continue
    pool.place(expert, step.now, pinned)
    guesses.add(expert)
  }
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
