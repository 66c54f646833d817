// Experts of two matrices.
// Shapes: E experts, D model, F expert width.

import { z } from 'zod'
import type { Activation, Parameter } from '../../nn/index.ts'
import { checkRate } from '../checks.ts'
import type { ExpertsRow } from './experts.ts'
import { type ExpertForm, plainForm } from './forms.ts'
import { StackedExperts, type StackedExpertsOptions, stack } from './stacked.ts'
import type { Projections } from './weights.ts'

export interface PlainExpertsOptions extends StackedExpertsOptions {
  /** Biases of both projections, which NLLB has. Default false. */
  bias?: boolean
}

/** `down(act(up(x)))`, the feed-forward of GShard, Switch and GLaM. */
export class PlainExperts extends StackedExperts {
  readonly up_proj: Parameter // [E, F, D]
  readonly down_proj: Parameter // [E, D, F]
  readonly up_proj_bias: Parameter | null // [E, F]
  readonly down_proj_bias: Parameter | null // [E, D]
  readonly numExperts: number
  readonly activation: Activation
  /** May be changed at any time. */
  dropout: number

  constructor(options: PlainExpertsOptions) {
    super()
    const { numExperts, hiddenSize: model, intermediateSize: width, bias = false } = options
    const { activation = 'relu', dropout = 0 } = options
    this.numExperts = numExperts
    this.activation = activation
    this.dropout = checkRate(dropout, 'experts.dropout')
    this.up_proj = stack(numExperts, [width, model], model, { encodable: true })
    this.down_proj = stack(numExperts, [model, width], width, { encodable: true })
    this.up_proj_bias = bias ? stack(numExperts, [width], model) : null
    this.down_proj_bias = bias ? stack(numExperts, [model], width) : null
  }

  get stacks(): Projections<Parameter> {
    return {
      up: this.up_proj,
      down: this.down_proj,
      upBias: this.up_proj_bias,
      downBias: this.down_proj_bias,
    }
  }

  override get form(): ExpertForm {
    return plainForm(this.activation, this.training ? this.dropout : 0)
  }
}

const schema = z.strictObject({
  kind: z.literal('plain'),
  dropout: z.number().min(0).lt(1).default(0),
})

/** `plain` in recipes. */
export const plainRow: ExpertsRow<typeof schema, PlainExpertsOptions> = {
  schema,
  make: options => new PlainExperts(options),
}
