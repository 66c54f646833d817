// The expert of the fewest uses goes (arXiv:2511.05814 finds it ahead of LRU for MoE).

import { z } from 'zod'
import { leastBy } from './least.ts'
import type { CachePolicy, PolicyRow } from './policy.ts'

/** Counts survive eviction: they are of experts, not of places. Of equals the one that is longest in the cache goes. */
export class LfuPolicy implements CachePolicy {
  readonly #uses = new Map<number, number>()

  start(uses: readonly number[]): void {
    for (const [expert, count] of uses.entries()) if (count > 0) this.#uses.set(expert, count)
  }

  use(expert: number): void {
    this.#uses.set(expert, (this.#uses.get(expert) ?? 0) + 1)
  }

  victim(candidates: Iterable<number>): number {
    return leastBy(candidates, expert => this.#uses.get(expert) ?? 0)
  }
}

const schema = z.strictObject({ kind: z.literal('lfu') })
export const lfu: PolicyRow<typeof schema> = { schema, make: () => new LfuPolicy() }
