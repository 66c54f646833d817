// Any expert goes: what a policy has to be better than.

import { z } from 'zod'
import { uniformSource } from '../../models/index.ts'
import type { CachePolicy, PolicyRow } from './policy.ts'

export class RandomPolicy implements CachePolicy {
  readonly #uniform: () => number

  constructor(seed = 0) {
    this.#uniform = uniformSource(seed)
  }

  use(): void {}

  victim(candidates: Iterable<number>): number {
    const all = [...candidates]
    return all[Math.floor(this.#uniform() * all.length)] as number
  }
}

const schema = z.strictObject({ kind: z.literal('random'), seed: z.int().nonnegative().default(0) })
export const random: PolicyRow<typeof schema> = { schema, make: ({ seed }) => new RandomPolicy(seed) }
