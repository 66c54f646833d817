// Experts of three matrices.
// Shapes: E experts, D model, F expert width.

import { z } from 'zod'
import type { Activation, Parameter } from '../../nn/index.ts'
import { checkRate } from '../checks.ts'
import type { ExpertsRow } from './experts.ts'
import { type ExpertForm, gatedForm } from './forms.ts'
import { StackedExperts, type StackedExpertsOptions, stack } from './stacked.ts'
import type { Projections } from './weights.ts'

/** The feed-forward of Mixtral and most others; see gatedForm(). */
export class GatedExperts extends StackedExperts {
  readonly gate_up_proj: Parameter // [E, 2F, D]
  readonly down_proj: Parameter // [E, D, F]
  readonly numExperts: number
  readonly activation: Activation
  /** May be changed at any time. */
  dropout: number

  constructor(options: StackedExpertsOptions) {
    super()
    const { numExperts, hiddenSize, intermediateSize, activation = 'silu', dropout = 0 } = options
    this.numExperts = numExperts
    this.activation = activation
    this.dropout = checkRate(dropout, 'experts.dropout')
    this.gate_up_proj = stack(numExperts, [2 * intermediateSize, hiddenSize], hiddenSize, { encodable: true })
    this.down_proj = stack(numExperts, [hiddenSize, intermediateSize], intermediateSize, { encodable: true })
  }

  get stacks(): Projections<Parameter> {
    return {
      up: this.gate_up_proj,
      down: this.down_proj,
      upBias: null,
      downBias: null,
    }
  }

  override get form(): ExpertForm {
    return gatedForm(this.activation, this.training ? this.dropout : 0)
  }
}

const schema = z.strictObject({
  kind: z.literal('gated'),
  dropout: z.number().min(0).lt(1).default(0),
})

/** `gated` in recipes. */
export const gatedRow: ExpertsRow<typeof schema, StackedExpertsOptions> = {
  schema,
  make: options => new GatedExperts(options),
}
