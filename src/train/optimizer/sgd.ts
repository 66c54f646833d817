// Gradient descent with momentum (Sutskever et al. 2013), in PyTorch's form.

import { z } from 'zod'
import type { Parameter } from '../../nn/index.ts'
import type { Tensor } from '../../torch/index.ts'
import { groupsSchema } from './groups.ts'
import type { OptimizerRow, ParameterGroup } from './optimizer.ts'
import { type Rule, RuleOptimizer, refuseHalf, ruleBytes } from './rule-optimizer.ts'

export interface SgdOptions {
  /** Of updates that name none. Default 1e-2. */
  learningRate?: number
  /** 0: none, and nothing is kept. Default 0.9. */
  momentum?: number
  /** Whether the gradient counts once more on top of the momentum. Default false. */
  nesterov?: boolean
  /** Of parameters that come without groups. Default 0. */
  weightDecay?: number
}

const defaults = {
  learningRate: 1e-2,
  momentum: 0.9,
  nesterov: false,
  weightDecay: 0,
} as const satisfies Required<SgdOptions>

/**
 * `m = mu m + g`, `p = p - lr wd p - lr m`; with Nesterov's momentum `g + mu m` in place of `m`. Weight decay stays out of the
 * momentum, as AdamW's does (SGDW, arXiv:1711.05101 algorithm 1).
 */
export class Sgd extends RuleOptimizer {
  /** @param trained parameters, which are then one group named `all` and numbered, or groups of them */
  constructor(trained: Iterable<Parameter> | Iterable<ParameterGroup>, options: SgdOptions = {}) {
    super(trained, sgdRule(options), { ...defaults, ...options })
  }
}

function sgdRule(options: SgdOptions): Rule {
  const { momentum, nesterov } = { ...defaults, ...options }
  const directionOf = (gradient: Tensor, sum: Tensor | undefined): Tensor =>
    nesterov && sum ? gradient.add(sum, momentum) : (sum ?? gradient)
  return {
    stateShapes: ({ shape }) => (momentum === 0 ? {} : { momentum: shape }),
    move: (parameter, gradient, { momentum: sum }, { learningRate, weightDecay }) => {
      sum?.mul_(momentum).add_(gradient)
      if (weightDecay !== 0) parameter.mul_(1 - learningRate * weightDecay)
      parameter.sub_(directionOf(gradient, sum), learningRate)
    },
  }
}

const schema = z.strictObject({
  kind: z.literal('sgd'),
  learningRate: z.number().positive(),
  momentum: z.number().min(0).lt(1).default(defaults.momentum),
  nesterov: z.boolean().default(defaults.nesterov),
  weightDecay: z.number().nonnegative().default(defaults.weightDecay),
  groups: groupsSchema.prefault({}),
})

/** `sgd` in recipes. */
export const sgd: OptimizerRow<typeof schema> = {
  schema,
  stateBytes: (declaration, settings) => ruleBytes(sgdRule(settings), declaration),
  make: (groups, { kind, ...settings }) => {
    refuseHalf(kind, groups)
    return new Sgd(groups, settings)
  },
}
