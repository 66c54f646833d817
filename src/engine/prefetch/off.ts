// Nobody guesses.

import { z } from 'zod'
import type { PrefetchRow } from './prefetcher.ts'

const schema = z.strictObject({ kind: z.literal('off') })
export const off: PrefetchRow<typeof schema> = { schema, make: () => null }
