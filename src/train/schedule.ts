// Learning rate over time, as a factor of the peak.

import { z } from 'zod'
import { kinds } from '../kinds.ts'

const warmup = z.int().nonnegative().default(0)
const minimum = z.number().min(0).max(1).default(0.1)

/** In optimizer steps. The factor falls towards `minimum`, which the step after the last would have. */
export const scheduleSchema = kinds(
  /** Linear warm-up, then half a cosine down to the minimum (arXiv:1608.03983). */
  z.strictObject({ kind: z.literal('cosine'), warmup, minimum }),
  /** Linear warm-up, then flat. */
  z.strictObject({ kind: z.literal('constant'), warmup }),
  /** Warm-up, stable, then linear decay over the last `decay` steps (arXiv:2404.06395). */
  z.strictObject({ kind: z.literal('wsd'), warmup, decay: z.int().positive(), minimum }),
)

export type Schedule = z.infer<typeof scheduleSchema>

/** The factor of step `step` (from 0) of `steps`. */
export function learningRateFactor(schedule: Schedule, step: number, steps: number): number {
  if (step < schedule.warmup) return (step + 1) / schedule.warmup
  switch (schedule.kind) {
    case 'constant':
      return 1
    case 'cosine': {
      const progress = (step - schedule.warmup) / Math.max(1, steps - schedule.warmup)
      return blend(0.5 * (1 + Math.cos(Math.PI * Math.min(1, progress))), schedule.minimum)
    }
    case 'wsd':
      return blend(Math.min(1, Math.max(0, (steps - step) / schedule.decay)), schedule.minimum)
  }
}

/** From 1 at `share` 1 to the minimum at 0. */
const blend = (share: number, minimum: number): number => minimum + (1 - minimum) * share
