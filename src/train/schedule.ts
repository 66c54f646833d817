// Learning rate over time, as a factor of the peak: a row for each kind.

import { z } from 'zod'
import { kindsOf } from '../kinds.ts'

const warmup = z.int().nonnegative().default(0)
const minimum = z.number().min(0).max(1).default(0.1)

interface ScheduleRow<S extends z.ZodType> {
  /** Settings, in optimizer steps. */
  schema: S
  /** The factor of step `step` (from 0) of `steps`, once the warm-up is over. */
  factor(settings: z.infer<S>, step: number, steps: number): number
}

/** Linear warm-up, then half a cosine down to the minimum (arXiv:1608.03983). */
const cosineSchema = z.strictObject({ kind: z.literal('cosine'), warmup, minimum })
const cosine: ScheduleRow<typeof cosineSchema> = {
  schema: cosineSchema,
  factor(settings, step, steps) {
    const progress = (step - settings.warmup) / Math.max(1, steps - settings.warmup)
    return blend(0.5 * (1 + Math.cos(Math.PI * Math.min(1, progress))), settings.minimum)
  },
}

/** Linear warm-up, then flat. */
const constantSchema = z.strictObject({ kind: z.literal('constant'), warmup })
const constant: ScheduleRow<typeof constantSchema> = { schema: constantSchema, factor: () => 1 }

/** Warm-up, stable, then linear decay over the last `decay` steps (arXiv:2404.06395). */
const wsdSchema = z.strictObject({ kind: z.literal('wsd'), warmup, decay: z.int().positive(), minimum })
const wsd: ScheduleRow<typeof wsdSchema> = {
  schema: wsdSchema,
  factor: ({ decay, minimum }, step, steps) =>
    blend(Math.min(1, Math.max(0, (steps - step) / decay)), minimum),
}

/** Linear warm-up, then `sqrt(warmup / step)` (arXiv:1706.03762 section 5.3; fairseq's `inverse_sqrt`). */
const inverseSqrtSchema = z.strictObject({ kind: z.literal('inverse-sqrt'), warmup })
const inverseSqrt: ScheduleRow<typeof inverseSqrtSchema> = {
  schema: inverseSqrtSchema,
  factor: ({ warmup }, step) => Math.sqrt(Math.max(1, warmup) / (step + 1)),
}

const rows = { cosine, constant, wsd, 'inverse-sqrt': inverseSqrt } as const

/** The factor falls towards `minimum`, which the step after the last would have. */
export const scheduleSchema = kindsOf(rows)

export type Schedule = z.infer<typeof scheduleSchema>

/** The factor of step `step` (from 0) of `steps`. */
export function learningRateFactor(schedule: Schedule, step: number, steps: number): number {
  if (step < schedule.warmup) return (step + 1) / schedule.warmup
  return (rows[schedule.kind] as ScheduleRow<z.ZodType<Schedule>>).factor(schedule, step, steps)
}

/** From 1 at `share` 1 to the minimum at 0. */
const blend = (share: number, minimum: number): number => minimum + (1 - minimum) * share
