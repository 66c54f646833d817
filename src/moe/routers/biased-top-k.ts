// Sigmoid scores, groups of experts, and a bias that balances the load without a loss (DeepSeek-V3).
// Shapes: T tokens, E experts, K chosen per token.

import { z } from 'zod'
import { Buffer } from '../../nn/index.ts'
import { noGrad, type Tensor, tidy } from '../../torch/index.ts'
import { overBatch } from '../routing/over-batch.ts'
import { expertCounts, type TokenRouting } from '../routing/token.ts'
import { checkGroups, withinBestGroups } from './groups.ts'
import { type Choice, checkTopK, LinearRouter, type LinearRouterOptions, largest } from './linear.ts'
import type { TokenContext } from './router.ts'
import { count, type RouterRow } from './row.ts'

export interface BiasedTopKRouterOptions extends LinearRouterOptions {
  topK: number
  /** Default sigmoid. */
  score?: 'sigmoid' | 'softmax'
  /** Groups of experts, of which a token uses only `topGroups`. Default 1. */
  groups?: number
  /** Default: all groups. */
  topGroups?: number
  /** Divide the K weights by their sum. Default: when there is more than one. */
  normalize?: boolean
  /** Multiplies the weights (DeepSeek-V3: 2.5). Default 1. */
  scale?: number
  /** How far the bias moves per optimizer step at the peak of the learning rate. 0 freezes it. Default 0.001. */
  biasRate?: number
}

/**
 * `s = sigmoid(x W^T)`; the K largest of `s + b` are chosen, within the groups whose two best sum highest; the weights
 * are of `s` alone (arXiv:2408.15664; arXiv:2412.19437 equations 12-16). After each step
 * `b += pace rate sign(mean count - count)`: an expert with too few tokens becomes more likely. With a constant rate the
 * bias ends as a step of that size about its goal; with the learning rate's pace it settles as the weights do, as
 * DeepSeek-V3's does at rate 0 over its last tokens.
 */
export class BiasedTopKRouter extends LinearRouter {
  /** [E], f32: in checkpoints, without a gradient. */
  readonly e_score_correction_bias: Buffer
  readonly topK: number
  readonly score_function: 'sigmoid' | 'softmax'
  readonly groups: number
  readonly topGroups: number
  readonly normalize: boolean
  readonly scale: number
  /** May be changed in training: DeepSeek-V3 sets it to 0 for the last tokens. */
  biasRate: number
  /** `[E]`: slots that each expert served since the bias last moved. */
  readonly served: Buffer

  constructor(options: BiasedTopKRouterOptions) {
    const { topK, score = 'sigmoid', groups = 1, topGroups = groups, ...rest } = options
    super(rest)
    // One expert over its own sum would always weigh 1, and the router learn nothing.
    const { normalize = topK > 1, scale = 1, biasRate = 0.001, numExperts } = options
    checkGroups(numExperts, groups, topGroups)
    checkTopK(topK, (numExperts / groups) * topGroups)
    this.e_score_correction_bias = new Buffer([numExperts])
    this.served = new Buffer([numExperts], { persistent: false })
    this.topK = topK
    this.score_function = score
    this.groups = groups
    this.topGroups = topGroups
    this.normalize = normalize
    this.scale = scale
    this.biasRate = biasRate
  }

  override forward(xTD: Tensor, context: TokenContext = {}): TokenRouting {
    const routing = super.forward(xTD, context)
    if (this.remembers && this.biasRate > 0) tidy(() => void this.served.add_(expertCounts(routing)))
    return routing
  }

  get active(): number {
    return this.topK
  }

  protected override choose(logitsTE: Tensor): Choice {
    const scoresTE = this.score_function === 'sigmoid' ? this.sigmoid(logitsTE) : logitsTE.softmax(-1)
    const biased = noGrad(() => scoresTE.add(this.e_score_correction_bias.to(scoresTE.dtype)))
    const indices = largest(withinBestGroups(biased, this.groups, this.topGroups, 2), this.topK)
    const chosen = scoresTE.gather(-1, indices)
    const weights = (this.normalize ? chosen.div(chosen.sum(-1, true).add(1e-20)) : chosen).mul(this.scale)
    return { indices, weights, probs: scoresTE.div(scoresTE.sum(-1, true)) }
  }

  discard(): void {
    this.served.zero_()
  }

  /** Moves the bias by the counts of all micro-batches since the last call. */
  adapt(pace = 1): void {
    noGrad(() =>
      tidy(() => {
        const served = overBatch.sum(this.served)
        const direction = served.mean().sub(served).sign() // [E]
        this.e_score_correction_bias.add_(direction, pace * this.biasRate)
        this.served.zero_()
      }),
    )
  }
}

const schema = z.strictObject({
  kind: z.literal('biased-top-k'),
  k: count.default(2),
  score: z.enum(['sigmoid', 'softmax']).default('sigmoid'),
  groups: count.default(1),
  /** Default: all groups. */
  topGroups: count.optional(),
  /** Default: when k is above 1. */
  normalize: z.boolean().optional(),
  scale: z.number().positive().default(1),
  biasRate: z.number().nonnegative().default(0.001),
})

/** `biased-top-k` in recipes. */
export const biasedTopK: RouterRow<typeof schema> = {
  schema,
  router: BiasedTopKRouter,
  make: ({ k, topGroups, normalize = k > 1, ...config }, sizes) =>
    new BiasedTopKRouter({ ...sizes, ...config, normalize, topK: k, ...(topGroups && { topGroups }) }),
  hasConstantWeight: ({ k, normalize }) => k === 1 && normalize === true,
}
