// GShard's top-2: the best expert always, the second by policy (arXiv:2006.16668).
// Shapes: T tokens, E experts.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { cat, noGrad, rand, type Tensor } from '../../torch/index.ts'
import { type Choice, LinearRouter, type LinearRouterOptions, largest } from './linear.ts'
import { jitter, type RouterRow } from './row.ts'

/** Whether a token's second expert is used. `g1`, `g2` are the two probabilities, after `normalize`. */
export type SecondExpertPolicy =
  /** Always. */
  | 'all'
  /** Never. */
  | 'none'
  /** When `g2 > threshold`. */
  | 'threshold'
  /** With probability `min(1, g2 / threshold)` (Mesh: 0.2; fairseq: 0.5). In evaluation always. */
  | 'random'
  /** Always, and in training it is drawn by Gumbel noise on the logits (fairseq's default). */
  | 'sampling'

export interface Top2RouterOptions extends LinearRouterOptions {
  /** Default `all`. */
  policy?: SecondExpertPolicy
  /** Of `threshold` and `random`. Default 0.2. */
  threshold?: number
  /** Whether `g1` and `g2` are divided by their sum (fairseq: `normalize_gate_prob_before_dropping`). Default true. */
  normalize?: boolean
}

/** `g = softmax(x W^T)`; the weights are g1 and g2, over their sum when normalised. */
export class Top2Router extends LinearRouter {
  readonly policy: SecondExpertPolicy
  readonly threshold: number
  readonly normalize: boolean

  constructor({ policy = 'all', threshold = 0.2, normalize = true, ...options }: Top2RouterOptions) {
    super(options)
    if (options.numExperts < 2) {
      throw new ConfigError(`needs at least 2 experts, got ${options.numExperts}`, {
        path: 'model.num_local_experts',
      })
    }
    if (!(threshold > 0))
      throw new ConfigError(`must be above 0, got ${threshold}`, { path: 'router.threshold' })
    this.policy = policy
    this.threshold = threshold
    this.normalize = normalize
  }

  get active(): number {
    return 2
  }

  protected override choose(logitsTE: Tensor): Choice {
    const probs = logitsTE.softmax(-1)
    const first = largest(probs, 1) // [T, 1]
    const rest = this.policy === 'sampling' && this.training ? withGumbel(logitsTE) : logitsTE
    const second = largest(rest.detach().scatter(-1, first, -Infinity), 1)
    const candidates = cat([first, second], -1) // [T, 2]
    const raw = probs.gather(-1, candidates)
    const gates = this.normalize ? raw.div(raw.sum(-1, true).add(1e-9)) : raw
    const unusedT1 = this.#usesSecond(gates.narrow(-1, 1, 1).detach()).logicalNot()
    const unused = cat([unusedT1.logicalXor(unusedT1), unusedT1], -1) // the first is always used
    return { indices: candidates.maskedFill(unused, -1), weights: gates.maskedFill(unused, 0), probs }
  }

  /** bool [T, 1] */
  #usesSecond(gate: Tensor): Tensor {
    switch (this.policy) {
      case 'all':
      case 'sampling':
        return gate.ge(0)
      case 'none':
        return gate.lt(0)
      case 'threshold':
        return gate.gt(this.threshold)
      case 'random':
        return this.training
          ? gate.div(this.threshold).gt(rand(gate.shape, { device: gate.device }))
          : gate.ge(0)
    }
  }
}

/** Adding Gumbel noise and taking the largest draws from the softmax. */
function withGumbel(logits: Tensor): Tensor {
  return noGrad(() => {
    const uniform = rand(logits.shape, { dtype: logits.dtype, device: logits.device }).clamp(1e-20)
    return logits.sub(uniform.log().neg().log())
  })
}

const schema = z.strictObject({
  kind: z.literal('top-2'),
  policy: z.enum(['all', 'none', 'threshold', 'random', 'sampling']).default('all'),
  threshold: z.number().positive().default(0.2),
  normalize: z.boolean().default(true),
  jitter,
})

/** `top-2` in recipes. */
export const top2: RouterRow<typeof schema> = {
  schema,
  router: Top2Router,
  make: (config, sizes) => new Top2Router({ ...sizes, ...config }),
}
