// Muon: momentum whose matrices are made orthogonal, so that every direction moves as far (Jordan 2024,
// kellerjordan.github.io/posts/muon). What is no matrix between hidden states moves by AdamW.

import { z } from 'zod'
import type { Declaration, Parameter } from '../../nn/index.ts'
import { adamwStep } from './adamw.ts'
import { groupsSchema } from './groups.ts'
import { isMatrix } from './matrices.ts'
import { orthogonalized } from './newton-schulz.ts'
import type { OptimizerRow, ParameterGroup } from './optimizer.ts'
import { type Rule, RuleOptimizer, refuseHalf, ruleBytes } from './rule-optimizer.ts'

export interface MuonOptions {
  /** Of updates that name none. Default 1e-3. */
  learningRate?: number
  /** Default 0.95. */
  momentum?: number
  /** Whether the gradient counts once more on top of the momentum. Default true. */
  nesterov?: boolean
  /** Of parameters that come without groups. Default 0.1. */
  weightDecay?: number
  /**
   * How far a matrix [O, I] moves. `adamw`: `0.2 sqrt(max(O, I))`, a root mean square of 0.2 as AdamW's updates have, so that its
   * learning rates fit (Moonlight, arXiv:2502.16982 equation 4). `shape`: `sqrt(max(1, O / I))`, Jordan's, for learning rates
   * about 0.02. Default adamw.
   */
  updateScale?: 'adamw' | 'shape'
  /** Of what is no such matrix: a factor of the learning rate (default 1), AdamW's betas (0.9, 0.95) and epsilon (1e-8). */
  rest?: { scale?: number; betas?: readonly [number, number]; epsilon?: number }
}

const restDefaults = { scale: 1, betas: [0.9, 0.95], epsilon: 1e-8 } as const
const defaults = {
  learningRate: 1e-3,
  momentum: 0.95,
  nesterov: true,
  weightDecay: 0.1,
  updateScale: 'adamw',
} as const satisfies MuonOptions

/**
 * Of matrices `m = mu m + g`, `O = orthogonalized(g + mu m)`, `p = p - lr wd p - lr scale O`; a stack of experts is a batch of
 * matrices. Embeddings, heads, routers and vectors move by AdamW.
 */
export class Muon extends RuleOptimizer {
  /** @param trained parameters, which are then one group named `all` and numbered, or groups of them */
  constructor(trained: Iterable<Parameter> | Iterable<ParameterGroup>, options: MuonOptions = {}) {
    super(trained, muonRule(options), { ...defaults, ...options })
  }
}

/** The matrices between hidden states. An expert's gate and up projections are one, as they are stored. */
function isHidden(declaration: Declaration): boolean {
  const { role } = declaration
  return isMatrix(declaration) && role !== 'embedding' && role !== 'head' && role !== 'router'
}

function muonRule(options: MuonOptions): Rule {
  const { momentum, nesterov, updateScale } = { ...defaults, ...options }
  const rest = { ...restDefaults, ...options.rest }
  return {
    stateShapes: declaration => {
      const { shape } = declaration
      return isHidden(declaration) ? { momentum: shape } : { exp_avg: shape, exp_avg_sq: shape }
    },
    move: (
      parameter,
      gradient,
      { momentum: sum, exp_avg, exp_avg_sq },
      { learningRate, weightDecay, step },
    ) => {
      if (sum) {
        sum.mul_(momentum).add_(gradient)
        const direction = orthogonalized(nesterov ? gradient.add(sum, momentum) : sum)
        parameter.mul_(1 - learningRate * weightDecay)
        parameter.sub_(direction, learningRate * scaleOf(parameter.shape, updateScale))
        return
      }
      if (!exp_avg || !exp_avg_sq) return
      const lists = { values: [parameter], gradients: [gradient], means: [exp_avg], squares: [exp_avg_sq] }
      const rates = { weightDecay, step, factor: 1, updateClip: null, ...rest }
      adamwStep(lists, { ...rates, learningRate: learningRate * rest.scale })
    },
  }
}

function scaleOf(shape: readonly number[], updateScale: 'adamw' | 'shape'): number {
  const [rows = 1, columns = 1] = shape.slice(-2)
  return updateScale === 'adamw'
    ? 0.2 * Math.sqrt(Math.max(rows, columns))
    : Math.sqrt(Math.max(1, rows / columns))
}

/** The gradient clipped, with momentum, and as orthogonalized: what the kernel works with is small, one matrix of each thread. */
function workBytes(declaration: Declaration): number {
  if (!isHidden(declaration)) return 0
  const [rows = 1, columns = 1] = declaration.shape.slice(-2)
  const experts = declaration.stacked ? (declaration.shape[0] ?? 1) : 1
  return 4 * experts * 3 * rows * columns
}

const below1 = z.number().min(0).lt(1)

const schema = z.strictObject({
  kind: z.literal('muon'),
  learningRate: z.number().positive(),
  momentum: below1.default(defaults.momentum),
  nesterov: z.boolean().default(defaults.nesterov),
  updateScale: z.enum(['adamw', 'shape']).default(defaults.updateScale),
  weightDecay: z.number().nonnegative().default(defaults.weightDecay),
  rest: z
    .strictObject({
      scale: z.number().nonnegative().default(restDefaults.scale),
      betas: z.tuple([below1, below1]).default([...restDefaults.betas]),
      epsilon: z.number().positive().default(restDefaults.epsilon),
    })
    .prefault({}),
  groups: groupsSchema.prefault({}),
})

/** `muon` in recipes. */
export const muon: OptimizerRow<typeof schema> = {
  schema,
  stateBytes: (declaration, settings) => ruleBytes(muonRule(settings), declaration),
  workBytes,
  make: (groups, { kind, ...settings }) => {
    refuseHalf(kind, groups)
    return new Muon(groups, settings)
  },
}
