// Null experts: choices that cost nothing, so that easy tokens use fewer experts (AdaMoE, arXiv:2406.13233).
// Shapes: T tokens, E true experts, M null experts, K slots per token.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { cat, noGrad, type Tensor, zeros } from '../../torch/index.ts'
import { overBatch } from '../routing/over-batch.ts'
import { type Choice, checkTopK, LinearRouter, type LinearRouterOptions, largest } from './linear.ts'
import type { TokenContext } from './router.ts'
import { count, isAlone, type RouterRow } from './row.ts'

export interface NullExpertRouterOptions extends LinearRouterOptions {
  /** Slots per token, null experts included. */
  topK: number
  /** Null experts, 1 or more. Default: as many as true ones. */
  nullExperts?: number
}

/**
 * Top-k over `E + M` logits; the weights are the probabilities of the true experts chosen, over their sum (0 when a
 * token chose only null experts). Its own loss `balance` is the Switch loss over all `E + M`, the null experts sharing
 * their mean load, since which of them is chosen makes no difference: 1 when balanced.
 */
export class NullExpertRouter extends LinearRouter {
  readonly topK: number
  readonly nullExperts: number

  constructor({ topK, nullExperts = 0, ...options }: NullExpertRouterOptions) {
    const nulls = nullExperts || options.numExperts
    if (!Number.isInteger(nulls) || nulls < 1) {
      throw new ConfigError(`must be a whole number above 0, got ${nullExperts}`, {
        path: 'router.nullExperts',
      })
    }
    super(options, options.numExperts + nulls)
    checkTopK(topK, options.numExperts + nulls)
    this.topK = topK
    this.nullExperts = nulls
  }

  get active(): number {
    return Math.min(this.topK, this.numExperts)
  }

  protected override choose(allLogits: Tensor, { mask = null }: TokenContext): Choice {
    const everything = allLogits.softmax(-1) // [T, E + M]
    const chosen = largest(allLogits, this.topK)
    const isNull = chosen.ge(this.numExperts)
    const raw = everything.gather(-1, chosen).maskedFill(isNull, 0)
    const weights = raw.div(raw.sum(-1, true).clamp(1e-20))
    const logits = allLogits.narrow(-1, 0, this.numExperts)
    return {
      indices: chosen.maskedFill(isNull, -1),
      weights,
      logits,
      probs: logits.softmax(-1),
      losses: { balance: this.#balance(everything, chosen, mask) },
    }
  }

  #balance(probs: Tensor, chosen: Tensor, mask: Tensor | null): Tensor {
    const real =
      mask === null ? probs.narrow(-1, 0, 1).detach().mul(0).add(1) : mask.unsqueeze(-1).to(probs.dtype) // [T, 1]
    const tokens = overBatch.sum(real.sum()).clamp(1)
    const share = noGrad(() => {
      const picked = zeros(probs.shape, { dtype: probs.dtype, device: probs.device }).scatter_(-1, chosen, 1)
      const load = overBatch.sum(picked.mul(real).sum(0)).div(tokens.mul(this.topK)) // [E + M]
      const nulls = load.narrow(0, this.numExperts, this.nullExperts)
      return cat([load.narrow(0, 0, this.numExperts), nulls.mean().expand([this.nullExperts])])
    })
    return share
      .mul(overBatch.sum(probs.mul(real).sum(0)).div(tokens))
      .sum()
      .mul(this.numExperts + this.nullExperts)
  }
}

const schema = z.strictObject({
  kind: z.literal('null-experts'),
  k: count.default(2),
  /** Default: as many as true experts. */
  nullExperts: count.optional(),
})

/** `null-experts` in recipes. */
export const nullExperts: RouterRow<typeof schema> = {
  schema,
  router: NullExpertRouter,
  make: ({ k, nullExperts = 0 }, sizes) => new NullExpertRouter({ ...sizes, topK: k, nullExperts }),
  ownLosses: { balance: 0.01 },
  hasConstantWeight: isAlone,
}
