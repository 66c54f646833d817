// Dynamic k: as many experts as it takes to be sure (arXiv:2403.07652).
// Shapes: T tokens, E experts.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { noGrad, type Tensor } from '../../torch/index.ts'
import { entropyLoss } from '../routing/entropy.ts'
import { type Choice, LinearRouter, type LinearRouterOptions, largest } from './linear.ts'
import type { TokenContext } from './router.ts'
import type { RouterRow } from './row.ts'

export interface TopPRouterOptions extends LinearRouterOptions {
  /** Experts are added until their probabilities exceed this. Default 0.4. */
  threshold?: number
}

/**
 * The fewest experts whose probabilities sum to more than the threshold, weighed by their raw probabilities. Its own
 * loss `entropy`, the mean of `-sum p log p`, keeps them few (coefficient 1e-4 in the paper's code).
 */
export class TopPRouter extends LinearRouter {
  readonly threshold: number

  constructor({ threshold = 0.4, ...options }: TopPRouterOptions) {
    super(options)
    if (!(threshold >= 0))
      throw new ConfigError(`must be at least 0, got ${threshold}`, { path: 'router.threshold' })
    this.threshold = threshold
  }

  get active(): number {
    return this.numExperts
  }

  protected override choose(logitsTE: Tensor, { mask = null }: TokenContext): Choice {
    const probs = logitsTE.softmax(-1)
    const order = largest(probs, this.numExperts) // [T, E]
    const sorted = probs.gather(-1, order)
    const unneeded = noGrad(() => sorted.cumsum(-1).sub(sorted).gt(this.threshold)) // what came before was enough
    return {
      indices: order.maskedFill(unneeded, -1),
      weights: sorted.maskedFill(unneeded, 0),
      probs,
      losses: { entropy: entropyLoss({ probs, mask }) },
    }
  }
}

const schema = z.strictObject({
  kind: z.literal('top-p'),
  threshold: z.number().min(0).max(1).default(0.4),
})

/** `top-p` in recipes. */
export const topP: RouterRow<typeof schema> = {
  schema,
  router: TopPRouter,
  make: ({ threshold }, sizes) => new TopPRouter({ ...sizes, threshold }),
  ownLosses: { entropy: 1e-4 },
}
