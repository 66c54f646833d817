// Structures of experts by the name that recipes give them.

import type { z } from 'zod'
import { kindsOf } from '../../kinds.ts'
import type { Module } from '../../nn/index.ts'
import type { Experts } from '../contracts.ts'
import { peerSchema } from '../peer/peer.ts'
import { clampedRow } from './clamped.ts'
import { gatedRow } from './gated.ts'
import { heterogeneousRow } from './heterogeneous.ts'
import { matrixProductRow } from './matrix-product.ts'
import { plainRow } from './plain.ts'
import { sharedBaseRow } from './shared-base.ts'

const rows = {
  gated: gatedRow,
  plain: plainRow,
  clamped: clampedRow,
  'shared-base': sharedBaseRow,
  'matrix-product': matrixProductRow,
  heterogeneous: heterogeneousRow,
} as const

/** Settings of experts, told apart by `kind`; gated when they name none. PEER's need no router. */
export const expertsSchema = kindsOf({ ...rows, peer: { schema: peerSchema } })

export type ExpertsConfig = z.infer<typeof expertsSchema>

type Rows = typeof rows
type OptionsOf<K extends keyof Rows> = { kind: K } & Parameters<Rows[K]['make']>[0]

/** A structure by its kind, and what it is made from: sizes, and the settings of its kind. */
export type ExpertsOptions = { [K in keyof Rows]: OptionsOf<K> }[keyof Rows]

/** Experts by their kind, sizes and settings. */
export function makeExperts(options: ExpertsOptions): Module & Experts {
  return (rows[options.kind].make as (options: ExpertsOptions) => Module & Experts)(options)
}
