// TEMPORARY while moe is being reshaped.
import { z } from 'zod'
import type { Module } from '../nn/index.ts'
import { ClampedExperts } from './experts/clamped.ts'
import type { Experts } from './experts/experts.ts'
import { GatedExperts, PlainExperts } from './experts/stacked.ts'
import type { DispatchOptions } from './layer.ts'
export type Dispatch = DispatchOptions
export const dropless: Dispatch = { kind: 'dropless' }
export const capacity = (o: object): Dispatch => ({ kind: 'capacity', ...o }) as Dispatch
export const fixedCapacity = (o: object): Dispatch => ({ kind: 'fixed-capacity', ...o }) as Dispatch
export const createDispatch = (o: Dispatch): Dispatch => o
export type ExpertsOptions = { kind: string } & Record<string, unknown>
export type ExpertsConfig = { kind: string } & Record<string, unknown>
export const expertSchemas = [
  z.strictObject({ kind: z.literal('gated'), dropout: z.number().min(0).lt(1).default(0) }),
] as const
export function makeExperts({ kind, ...o }: ExpertsOptions): Module & Experts {
  if (kind === 'gated') return new GatedExperts(o as never)
  return kind === 'plain' ? new PlainExperts(o as never) : new ClampedExperts(o as never)
}
