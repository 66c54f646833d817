// Experts of different widths and kinds (HMoE, arXiv:2408.10681).

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { type Activation, GatedMlp } from '../../nn/index.ts'
import { checkWhole } from '../checks.ts'
import type { ExpertSizes, ExpertsRow } from './experts.ts'
import { type ExpertModule, ModuleExperts } from './module-experts.ts'
import { PlainMlp } from './plain-mlp.ts'

export interface HeterogeneousExpertOptions {
  /** Width F of this expert. */
  intermediateSize: number
  /** Three matrices instead of two. Default true. */
  gated?: boolean
  /** Default silu for a gated expert (SwiGLU), relu for a plain one. */
  activation?: Activation
}

export interface HeterogeneousExpertsOptions {
  hiddenSize: number
  /** One entry for each expert. */
  experts: readonly HeterogeneousExpertOptions[]
}

/**
 * `expert_e(x) = down_e(act_e(gate_e(x)) * up_e(x))`, or without the gate, with a width F_e of its own
 * (arXiv:2408.10681). Left alone, a router prefers the wide experts: parameterPenalty() weighs against it.
 */
export class HeterogeneousExperts extends ModuleExperts {
  /** Width F of each expert: what parameterPenalty() takes when all are gated or all are plain. */
  readonly widths: readonly number[]

  constructor({ hiddenSize, experts }: HeterogeneousExpertsOptions) {
    super(experts.map((options, e) => makeExpert(hiddenSize, options, e)))
    this.widths = experts.map(options => options.intermediateSize)
  }

  /** Parameters of each expert: what parameterPenalty() takes when gated and plain experts are mixed. */
  get sizes(): number[] {
    return Array.from({ length: this.numExperts }, (_, e) => this[e]?.numParameters ?? 0)
  }
}

function makeExpert(hiddenSize: number, options: HeterogeneousExpertOptions, e: number): ExpertModule {
  const { intermediateSize: width, gated = true, activation } = options
  checkWhole(width, 1, `experts.${e}.intermediateSize`)
  return gated
    ? new GatedMlp(hiddenSize, width, activation, 'experts')
    : new PlainMlp(hiddenSize, width, { ...(activation && { activation }), role: 'experts' })
}

const schema = z.strictObject({
  kind: z.literal('heterogeneous'),
  /** Width of each expert. */
  widths: z.array(z.int().positive()).min(1),
})

/** Gated experts whose widths are listed. */
type ListedWidths = Pick<ExpertSizes, 'numExperts' | 'hiddenSize'> & { widths: readonly number[] }

/** `heterogeneous` in recipes. */
export const heterogeneousRow: ExpertsRow<typeof schema, ListedWidths> = {
  schema,
  make({ numExperts, hiddenSize, widths }) {
    if (widths.length !== numExperts) {
      throw new ConfigError(`has ${widths.length} widths for ${numExperts} experts; give one for each`, {
        path: 'experts.widths',
      })
    }
    return new HeterogeneousExperts({
      hiddenSize,
      experts: widths.map(intermediateSize => ({ intermediateSize })),
    })
  },
}
