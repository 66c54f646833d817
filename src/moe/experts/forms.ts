// What one expert computes, given its matrices.
// Shapes: n rows, D model, F expert width.

import { type Activation, activate } from '../../nn/index.ts'
import { dropout, linear, type Tensor } from '../../torch/index.ts'
import type { Projections } from './weights.ts'

/** What is between the projections, for kernels. */
export interface FusedForm {
  /** `clamped` is clampedForm()'s. */
  activation: Activation | 'clamped'
  gated: boolean
  /** Bound of clamped halves; null elsewhere. */
  limit: number | null
}

export interface ExpertForm {
  /** What the kernel for all experts at once is told; null where it cannot compute this. */
  readonly fused: FusedForm | null
  /** What the last projection is given: [n, D] -> [n, F]. */
  hidden(x: Tensor, weights: Projections): Tensor
  /** The last projection: [n, F] -> [n, D]. */
  project(hidden: Tensor, weights: Projections): Tensor
  /** Both: [n, D] -> [n, D]. */
  apply(x: Tensor, weights: Projections): Tensor
}

/** A form whose steps are given. */
function formOf({ fused, hidden, project }: Omit<ExpertForm, 'apply'>): ExpertForm {
  return { fused, hidden, project, apply: (x, weights) => project(hidden(x, weights), weights) }
}

const outputFirst: ExpertForm['project'] = (hidden, { down, downBias }) => linear(hidden, down, downBias)

/** `down(act(gate(x)) * up(x))`; with silu this is SwiGLU (arXiv:2002.05202). Gate rows come before up rows. */
export function gatedForm(activation: Activation, dropRate: number): ExpertForm {
  return formOf({
    fused: dropRate > 0 ? null : { activation, gated: true, limit: null },
    hidden(x, { up: gateUp, upBias }) {
      const [gate, up] = linear(x, gateUp, upBias).chunk(2, -1) as [Tensor, Tensor] // [n, F] each
      return dropped(activate(gate, activation).mul(up), dropRate)
    },
    project: outputFirst,
  })
}

/** `down(act(up(x)))` */
export function plainForm(activation: Activation, dropRate: number): ExpertForm {
  return formOf({
    fused: dropRate > 0 ? null : { activation, gated: false, limit: null },
    hidden: (x, { up, upBias }) => dropped(activate(linear(x, up, upBias), activation), dropRate),
    project: outputFirst,
  })
}

const dropped = (hidden: Tensor, rate: number): Tensor => (rate > 0 ? dropout(hidden, rate, true) : hidden)

/** Steepness of the gate: `g sigmoid(1.702 g)` is close to GELU (arXiv:1606.08415). */
const alpha = 1.702

/**
 * `[g, u] = x W + b`, `g <- min(g, limit)`, `u <- clamp(u, +-limit)`, `y = ((u + 1) g sigmoid(1.702 g)) V + c`
 * (arXiv:2508.10925; transformers, models/gpt_oss/modeling_gpt_oss.py, GptOssExperts). Rows of g come before those of u.
 */
export function clampedForm(limit: number, dropRate: number): ExpertForm {
  return formOf({
    fused: dropRate > 0 ? null : { activation: 'clamped', gated: true, limit },
    hidden(x, { up: gateUp, upBias }) {
      const [gates, ups] = linear(x, gateUp, upBias).chunk(2, -1) as [Tensor, Tensor] // [n, F] each
      const gate = gates.clamp(null, limit)
      const hidden = ups
        .clamp(-limit, limit)
        .add(1)
        .mul(gate.mul(gate.mul(alpha).sigmoid()))
      return dropped(hidden, dropRate)
    },
    project: outputFirst,
  })
}
