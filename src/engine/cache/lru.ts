// The least recently used expert goes, as in Mixtral offloading (arXiv:2312.17238, section 3.1).

import { z } from 'zod'
import { leastBy } from './least.ts'
import type { CachePolicy, PolicyRow } from './policy.ts'

/** Uses are counted, not timed: the experts of one layer are used at one time, one after the other. */
export class LruPolicy implements CachePolicy {
  readonly #lastUse = new Map<number, number>()
  #uses = 0

  use(expert: number): void {
    this.#lastUse.set(expert, this.#uses++)
  }

  victim(candidates: Iterable<number>): number {
    return leastBy(candidates, expert => this.#lastUse.get(expert) ?? -1)
  }
}

const schema = z.strictObject({ kind: z.literal('lru') })
export const lru: PolicyRow<typeof schema> = { schema, make: () => new LruPolicy() }
