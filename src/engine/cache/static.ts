// The expert that was used least in an earlier recording goes, whatever happens now: the hottest end up resident for good.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { leastBy } from './least.ts'
import type { CachePolicy, PolicyRow } from './policy.ts'

export class StaticPolicy implements CachePolicy {
  readonly #counts: readonly number[]

  /** @param counts `[layers * experts]`: uses of each expert, in any unit */
  constructor(counts: readonly number[]) {
    this.#counts = counts
  }

  use(): void {}

  victim(candidates: Iterable<number>): number {
    return leastBy(candidates, expert => this.#counts[expert] ?? 0)
  }
}

const schema = z.strictObject({ kind: z.literal('static'), counts: z.array(z.number().nonnegative()) })
export const staticByFrequency: PolicyRow<typeof schema> = {
  schema,
  make({ counts }, { layers, experts }) {
    if (counts.length === layers * experts) return new StaticPolicy(counts)
    throw new ConfigError(
      `${counts.length} counts for ${layers} layers of ${experts} experts; give ${layers * experts}`,
      { path: 'counts' },
    )
  },
}
