// Policies by the name that settings give them. Belady's needs the future, and is for replays alone: belady.ts.

import type { z } from 'zod'
import { kindsOf } from '../../kinds.ts'
import { activationAware } from './activation-aware.ts'
import { leastStale } from './least-stale.ts'
import { lfru } from './lfru.ts'
import { lfu } from './lfu.ts'
import { lru } from './lru.ts'
import type { CachePolicy, ExpertGrid, PolicyRow } from './policy.ts'
import { random } from './random.ts'
import { staticByFrequency } from './static.ts'

const rows = {
  lru,
  lfu,
  lfru,
  'least-stale': leastStale,
  'activation-aware': activationAware,
  static: staticByFrequency,
  random,
} as const

/** Settings of a policy, told apart by `kind`; a name alone is enough where a policy has no others. */
export const policySchema = kindsOf(rows)

export type PolicyConfig = z.infer<typeof policySchema>

/** Every policy that can run. */
export const policyNames = Object.keys(rows) as PolicyConfig['kind'][]

/**
 * A policy for the caches of one model: one for each pool, or one for all of them.
 *
 * @throws ConfigError where settings do not fit the model
 */
export function createPolicy(config: PolicyConfig, grid: ExpertGrid): CachePolicy {
  return (rows[config.kind] as PolicyRow<z.ZodType<PolicyConfig>>).make(config, grid)
}

/**
 * The policy to take where none is asked for: LFRU, and LRU where so many experts fit that no more are left out than one
 * token chooses. Without halving LFRU loses to LRU where many fit (3 to 4 points in a study of colibri's on OLMoE, and here
 * too); with it, it led LRU at every capacity, by less than a point where nearly all fit: docs/caches.md.
 *
 * @param capacity experts that fit, of each layer
 * @param experts of each layer
 * @param topK experts that one token chooses
 */
export function defaultPolicy(capacity: number, experts: number, topK: number): PolicyConfig {
  return { kind: experts - capacity > topK ? 'lfru' : 'lru' }
}
