// Every token reaches every expert that it chose (MegaBlocks, arXiv:2211.15841).

import { z } from 'zod'
import type { Dispatch } from '../contracts.ts'
import { type DispatchRow, servingOnly } from './dispatch.ts'
import { skipWeak } from './skip.ts'

const schema = z.strictObject({
  kind: z.literal('dropless'),
  /** In evaluation, experts that count less than this share of the token's best are left out; see skipWeak(). */
  evalSkip: z.number().nonnegative().optional(),
})

/** No token is dropped. */
export const dropless: Dispatch = servingOnly(chosen => chosen)

/** `dropless` in recipes. */
export const droplessRow: DispatchRow<typeof schema> = {
  schema,
  make: ({ evalSkip }) =>
    evalSkip === undefined
      ? dropless
      : servingOnly((chosen, { training }) => (training ? chosen : skipWeak(chosen, evalSkip))),
}
