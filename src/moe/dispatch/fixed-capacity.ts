// Experts take a number of tokens that does not depend on how many there are (transformers' Switch and NLLB).

import type { Dispatch } from '../contracts.ts'
import { servingOnly } from './dispatch.ts'
import { dropBeyondCapacity } from './drop.ts'

export interface FixedCapacityOptions {
  /** Tokens of each expert. */
  slots: number
  /** Of each sequence, or of the batch. */
  per: 'sequence' | 'batch'
}

/** Experts take so many tokens, earlier ones first. */
export function fixedCapacityDispatch({ slots, per }: FixedCapacityOptions): Dispatch {
  return servingOnly(
    (chosen, { starts }) => dropBeyondCapacity(chosen, slots, per === 'sequence' ? { starts } : {}),
    { isOverBatch: per === 'batch' },
  )
}
