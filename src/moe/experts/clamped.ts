// gpt-oss's experts: SwiGLU with bounded halves, and biases.
// Shapes: E experts, D model, F expert width.

import { z } from 'zod'
import type { Parameter } from '../../nn/index.ts'
import type { ExpertSizes, ExpertsRow } from './experts.ts'
import { clampedForm, type ExpertForm } from './forms.ts'
import { StackedExperts, stack } from './stacked.ts'
import type { Projections } from './weights.ts'

export interface ClampedExpertsOptions extends ExpertSizes {
  /** Bound of the gate from above and of the other half to both sides (`swiglu_limit`). Default 7. */
  limit?: number
}

/** See clampedForm(). */
export class ClampedExperts extends StackedExperts {
  readonly gate_up_proj: Parameter // [E, 2F, D]
  readonly gate_up_proj_bias: Parameter // [E, 2F]
  readonly down_proj: Parameter // [E, D, F]
  readonly down_proj_bias: Parameter // [E, D]
  readonly numExperts: number
  readonly limit: number

  constructor({ numExperts, hiddenSize, intermediateSize: width, limit = 7 }: ClampedExpertsOptions) {
    super()
    this.numExperts = numExperts
    this.limit = limit
    this.gate_up_proj = stack(numExperts, [2 * width, hiddenSize], hiddenSize, { encodable: true })
    this.gate_up_proj_bias = stack(numExperts, [2 * width], hiddenSize)
    this.down_proj = stack(numExperts, [hiddenSize, width], width, { encodable: true })
    this.down_proj_bias = stack(numExperts, [hiddenSize], width)
  }

  get stacks(): Projections<Parameter> {
    return {
      up: this.gate_up_proj,
      down: this.down_proj,
      upBias: this.gate_up_proj_bias,
      downBias: this.down_proj_bias,
    }
  }

  override get form(): ExpertForm {
    return clampedForm(this.limit, this.dropRate)
  }
}

const schema = z.strictObject({
  kind: z.literal('clamped'),
  limit: z.number().positive().default(7),
})

/** `clamped` in recipes. */
export const clampedRow: ExpertsRow<typeof schema, ClampedExpertsOptions> = {
  schema,
  make: options => new ClampedExperts(options),
}
