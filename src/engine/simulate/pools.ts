// Whether each layer has places of its own, or all share them.

import type { CachePolicy, ExpertGrid } from '../cache/policy.ts'
import { ExpertPool } from '../cache/pool.ts'

export type PoolKind = 'layer' | 'global'

export interface PoolPlan {
  kind: PoolKind
  /** Places of each pool. */
  capacity: number
}

/** Experts that could be in one pool. */
export const expertsOfPool = (kind: PoolKind, { layers, experts }: ExpertGrid): number =>
  kind === 'layer' ? experts : layers * experts

/**
 * Pools that hold a share of the experts, but at least what one token needs at once in a layer.
 *
 * @param grid with the most experts that a token chooses in a layer
 * @param share above 0, at most 1
 */
export function planPools(kind: PoolKind, share: number, grid: ExpertGrid & { topK: number }): PoolPlan {
  const all = expertsOfPool(kind, grid)
  return { kind, capacity: Math.min(all, Math.max(grid.topK, Math.round(share * all))) }
}

/** The pool of each layer; all have one policy, which knows experts by number. */
export function makePools({ kind, capacity }: PoolPlan, layers: number, policy: CachePolicy): ExpertPool[] {
  if (kind === 'layer') return Array.from({ length: layers }, () => new ExpertPool(capacity, policy))
  return new Array<ExpertPool>(layers).fill(new ExpertPool(capacity, policy))
}
