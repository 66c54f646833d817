// Auxiliary losses by the name that recipes give them, in the order in which they are added to the cross-entropy.

import { z } from 'zod'
import { balance } from './balance.ts'
import { localizedRow } from './localized.ts'
import { own } from './own.ts'
import { parameterPenaltyRow } from './parameter-penalty.ts'
import { entropyRow, varianceRow, zRow } from './router.ts'
import type { Decisions, LossRow, LossTerm } from './row.ts'
import { deviceBalanceRow, squaredBalanceRow } from './shares.ts'

const rows = {
  balance,
  z: zRow,
  router: own,
  entropy: entropyRow,
  variance: varianceRow,
  deviceBalance: deviceBalanceRow,
  squaredBalance: squaredBalanceRow,
  parameterPenalty: parameterPenaltyRow,
  localized: localizedRow,
} as const

type Rows = typeof rows

/** The settings of each loss, as fields of a larger schema. */
export const lossFields = Object.fromEntries(
  Object.entries(rows).map(([name, { schema }]) => [name, schema]),
) as { [K in keyof Rows]: Rows[K]['schema'] }

const settingsSchema = z.object(lossFields)

export type LossSettings = z.infer<typeof settingsSchema>

/** What a step's loss consists of beside the cross-entropy; each is computed when the one before was added. */
export function* lossTerms(settings: LossSettings, decisions: Decisions): Generator<LossTerm> {
  for (const [name, row] of Object.entries(rows) as [keyof Rows, LossRow<z.ZodType>][])
    yield* row.terms(settings[name], decisions)
}
