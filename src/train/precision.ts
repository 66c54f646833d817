// In which numbers a model is trained.

import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { kinds } from '../kinds.ts'
import type { TrainableModel } from '../models/index.ts'
import { type Device, hasFastBf16, noGrad, tidy } from '../torch/index.ts'
import { groupOf } from './optimizer/groups.ts'
import type { HalfPrecision } from './optimizer/optimizer.ts'

const half = z.enum(['bf16', 'f16']).default('bf16')

/** f16 alone needs it: the smallest gradients would be 0. */
const lossScale = z
  .strictObject({
    initial: z.number().positive().default(65_536),
    /** Steps without an overflow after which the scale doubles. */
    growthInterval: z.int().positive().default(2000),
  })
  .prefault({})

export const precisionSchema = kinds(
  z.strictObject({ kind: z.literal('f32') }),
  /** What is fastest without a loss of quality: autocast in bf16 where the device is fast in it, else f32. */
  z.strictObject({ kind: z.literal('auto') }),
  /** Weights in f32, products in half precision: on CUDA, and in bf16 on CPUs with instructions for it; others take f32. */
  z.strictObject({ kind: z.literal('autocast'), dtype: half, lossScale }),
  /** Weights in half precision, which is fastest on CUDA: no weight is converted in a step. */
  z.strictObject({
    kind: z.literal('half'),
    dtype: half,
    /** An f32 copy of each weight, which is what the optimizer moves. */
    master: z.boolean().default(true),
    /** Type of the optimizer's moments. */
    moments: z.enum(['f32', 'bf16']).default('f32'),
    /** Weights of routers: f32 keeps the choice of experts from being rounded (arXiv:2101.03961, section 2.4). */
    router: z.enum(['f32', 'half']).default('f32'),
    lossScale,
  }),
)

export type Precision = z.infer<typeof precisionSchema>

/** `auto` as what it stands for on a device. */
export function resolvePrecision(precision: Precision, device: Device): Precision {
  if (precision.kind !== 'auto') return precision
  return precisionSchema.parse({ kind: device !== 'cpu' || hasFastBf16() ? 'autocast' : 'f32' })
}

/** Converts a model's weights. @throws ConfigError for what a device cannot compute */
export function convertWeights(model: TrainableModel, precision: Precision, device: Device): void {
  if (precision.kind !== 'half') return
  if (precision.dtype === 'f16' && device === 'cpu') {
    throw new ConfigError('f16 needs CUDA: a CPU has no f16 products; use bf16, or device cuda', {
      path: 'precision.dtype',
    })
  }
  noGrad(() =>
    tidy(() => {
      for (const parameter of model.parameters()) {
        const isRouter = groupOf(parameter.declaration.role) === 'router'
        if (precision.router === 'f32' && isRouter) continue
        parameter.setData(parameter.detach().to(precision.dtype))
      }
    }),
  )
}

/** What the optimizer is to know of it. */
export function halfOptions(precision: Precision): HalfPrecision {
  return precision.kind === 'half' ? { master: precision.master, moments: precision.moments } : {}
}

/** The type that products are computed in when weights are f32; null: theirs. */
export function autocastType(precision: Precision, device: Device): 'bf16' | 'f16' | null {
  if (precision.kind !== 'autocast') return null
  const isFast = device !== 'cpu' || (precision.dtype === 'bf16' && hasFastBf16())
  return isFast ? precision.dtype : null
}

/** The type that most of a step is computed in. */
export function productType(precision: Precision, device: Device): 'f32' | 'bf16' | 'f16' {
  if (precision.kind === 'half') return precision.dtype
  return autocastType(precision, device) ?? 'f32'
}

/** What is asked for and not there, in words; null when all is as asked. */
export function missingPrecision(precision: Precision, device: Device): string | null {
  if (precision.kind !== 'autocast' || productType(precision, device) === precision.dtype) return null
  return `products are computed in f32: this processor has no instructions for ${precision.dtype} (see switchyard doctor)`
}

/** Where a loss scale stands. */
export interface LossScaleState {
  scale: number
  /** Steps since it last changed. */
  steps: number
}

/**
 * What the loss is multiplied by, so that small gradients do not become 0 in f16: doubled after every `growthInterval` good
 * steps, halved when a gradient overflowed, whose step is left out (arXiv:1710.03740 section 3.2; torch's GradScaler).
 * Auxiliary losses are part of the loss and are scaled with it.
 */
export class LossScaler {
  state: LossScaleState
  readonly growthInterval: number

  constructor({ initial, growthInterval }: z.infer<typeof lossScale>) {
    this.state = { scale: initial, steps: 0 }
    this.growthInterval = growthInterval
  }

  get scale(): number {
    return this.state.scale
  }

  /** Takes note of whether a step's gradients were finite. */
  note(finite: boolean): void {
    const { scale, steps } = this.state
    if (!finite) this.state = { scale: scale / 2, steps: 0 }
    else if (steps + 1 < this.growthInterval) this.state = { scale, steps: steps + 1 }
    else this.state = { scale: scale * 2, steps: 0 }
  }
}

/** A scaler for f16; null for types that need none. */
export function lossScalerFor(precision: Precision): LossScaler | null {
  return 'dtype' in precision && precision.dtype === 'f16' ? new LossScaler(precision.lossScale) : null
}
