// Ways to guess by the name that settings give them.

import type { z } from 'zod'
import { kindsOf } from '../../kinds.ts'
import { hints } from './hints.ts'
import { history } from './history.ts'
import { off } from './off.ts'
import type { Prefetcher, PrefetchRow, PrefetchSubject } from './prefetcher.ts'
import { router } from './router.ts'

const rows = { router, history, hints, off } as const

/** Settings of guesses, told apart by `kind`; a name alone is enough where it has no others. */
export const prefetchSchema = kindsOf(rows)

export type PrefetchConfig = z.infer<typeof prefetchSchema>

/** Every way to guess, and `off`. */
export const prefetchKinds = Object.keys(rows) as PrefetchConfig['kind'][]

/**
 * Who guesses; null: nobody.
 *
 * @throws ConfigError where settings do not fit the model; FormatError for a file that holds no hints
 */
export function createPrefetcher(config: PrefetchConfig, subject: PrefetchSubject): Prefetcher | null {
  return (rows[config.kind] as PrefetchRow<z.ZodType<PrefetchConfig>>).make(config, subject)
}
