// Adafactor (arXiv:1804.04235) without momentum and without steps relative to a parameter's size: the square of a gradient is
// kept as sums over rows and over columns.

import { z } from 'zod'
import type { Parameter } from '../../nn/index.ts'
import type { Tensor } from '../../torch/index.ts'
import { groupsSchema } from './groups.ts'
import { isMatrix } from './matrices.ts'
import type { OptimizerRow, ParameterGroup } from './optimizer.ts'
import { type Rule, RuleOptimizer, refuseHalf, ruleBytes } from './rule-optimizer.ts'

export interface AdafactorOptions {
  /** Of updates that name none. Default 1e-2. */
  learningRate?: number
  /** How soon squares are forgotten: `b2 = 1 - t^-decay`. Default 0.8. */
  decay?: number
  /** Added to squares. Default 1e-30. */
  epsilon?: number
  /** Largest root mean square of an update, before the learning rate; null: any. Default 1. */
  updateClip?: number | null
  /** Of parameters that come without groups. Default 0. */
  weightDecay?: number
}

const defaults = {
  learningRate: 1e-2,
  decay: 0.8,
  epsilon: 1e-30,
  updateClip: 1,
  weightDecay: 0,
} as const satisfies Required<AdafactorOptions>

/**
 * Algorithms 4 and 5: of a matrix `R = b2 R + (1 - b2) mean_columns(g^2 + eps)`, `C` so of rows, `V = R C / mean(R)`; of all else
 * `V = b2 V + (1 - b2) (g^2 + eps)`; then `u = g / sqrt(V)` and `p = p - lr wd p - lr u / max(1, rms(u) / updateClip)`. Each
 * expert of a stack is a matrix of its own.
 */
export class Adafactor extends RuleOptimizer {
  /** @param trained parameters, which are then one group named `all` and numbered, or groups of them */
  constructor(trained: Iterable<Parameter> | Iterable<ParameterGroup>, options: AdafactorOptions = {}) {
    super(trained, adafactorRule(options), { ...defaults, ...options })
  }
}

function adafactorRule(options: AdafactorOptions): Rule {
  const { decay, epsilon, updateClip } = { ...defaults, ...options }
  return {
    stateShapes: declaration => {
      const { shape } = declaration
      if (!isMatrix(declaration)) return { exp_avg_sq: shape }
      const stack = shape.slice(0, -2)
      return {
        exp_avg_sq_row: [...stack, shape.at(-2) ?? 1, 1],
        exp_avg_sq_col: [...stack, 1, shape.at(-1) ?? 1],
      }
    },
    move: (parameter, gradient, kept, { learningRate, weightDecay, step }) => {
      const share = step ** -decay // 1 - b2
      const inverse = inverseRoot(gradient.square().add_(epsilon), kept, share)
      const update = clip_(inverse.mul_(gradient), updateClip, parameter.declaration.stacked ?? false)
      if (weightDecay !== 0) parameter.mul_(1 - learningRate * weightDecay)
      parameter.sub_(update, learningRate)
    },
  }
}

/** `1 / sqrt(V)`, when what is kept of squares has been brought up to date. */
function inverseRoot(squares: Tensor, kept: Readonly<Record<string, Tensor>>, share: number): Tensor {
  const { exp_avg_sq_row: rows, exp_avg_sq_col: columns, exp_avg_sq: all } = kept
  if (!rows || !columns) return (all as Tensor).lerp_(squares, share).rsqrt()
  rows.lerp_(squares.mean(-1, true), share) // [..., O, 1]
  columns.lerp_(squares.mean(-2, true), share) // [..., 1, I]
  return rows.div(rows.mean(-2, true)).rsqrt().mul(columns.rsqrt())
}

/** Updates scaled down to a root mean square of at most `clip`, each expert's by itself, in place. */
function clip_(update: Tensor, clip: number | null, stacked: boolean): Tensor {
  if (clip === null) return update
  const { shape } = update
  const dims = shape.map((_, dim) => dim).slice(stacked ? 1 : 0)
  const size = dims.reduce((product, dim) => product * (shape[dim] ?? 1), 1)
  return update.div_(
    update
      .norm(2, dims, true)
      .div(clip * Math.sqrt(size))
      .clamp(1),
  )
}

const schema = z.strictObject({
  kind: z.literal('adafactor'),
  learningRate: z.number().positive(),
  decay: z.number().positive().max(1).default(defaults.decay),
  epsilon: z.number().positive().default(defaults.epsilon),
  updateClip: z.number().positive().nullable().default(defaults.updateClip),
  weightDecay: z.number().nonnegative().default(defaults.weightDecay),
  groups: groupsSchema.prefault({}),
})

/** `adafactor` in recipes. */
export const adafactor: OptimizerRow<typeof schema> = {
  schema,
  stateBytes: (declaration, settings) => ruleBytes(adafactorRule(settings), declaration),
  /** The gradient clipped, its squares and the update. */
  workBytes: ({ shape }) => shape.reduce((product, size) => product * size, 3 * 4),
  make: (groups, { kind, ...settings }) => {
    refuseHalf(kind, groups)
    return new Adafactor(groups, settings)
  },
}
