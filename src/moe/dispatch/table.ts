// Kinds of dispatch by the name that recipes give them.

import type { z } from 'zod'
import { kindsOf } from '../../kinds.ts'
import type { Dispatch } from '../contracts.ts'
import { capacityRow } from './capacity.ts'
import type { DispatchRow } from './dispatch.ts'
import { droplessRow } from './dropless.ts'
import { referenceRow } from './reference.ts'

const rows = { dropless: droplessRow, capacity: capacityRow, reference: referenceRow } as const

/** Settings of a dispatch, told apart by `kind`; dropless when they name none. */
export const dispatchSchema = kindsOf(rows)

export type DispatchConfig = z.infer<typeof dispatchSchema>

export function createDispatch(config: DispatchConfig): Dispatch {
  return (rows[config.kind] as DispatchRow<z.ZodType<DispatchConfig>>).make(config)
}
