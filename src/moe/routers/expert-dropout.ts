// Dropping whole experts while training.
// Shapes: T tokens, E experts.

import { ConfigError } from '../../errors.ts'
import { type Generator, noGrad, rand, type Tensor, tidy } from '../../torch/index.ts'
import { checkRate } from '../checks.ts'

export interface DropExpertsOptions {
  /** Probability with which each expert is dropped, in [0, 1). */
  rate: number
  /** How many experts stay at least, 1 to E: the router's topK, so that no slot lacks an expert. */
  atLeast: number
  /** Where the draw comes from. Default: the shared generator. */
  generator?: Generator
}

/**
 * `z_te = -inf` for all tokens t, for every expert e of a random set: nobody can choose it in this batch, and the others
 * share its probability. Put between a router's logits and its choice, while training; rate 0 draws nothing. ST-MoE
 * tried this in fine-tuning and saw no better generalisation (arXiv:2202.08906); dropout of the hidden units inside
 * experts is GatedExperts' `dropout`.
 *
 * @param logits [T, E]
 * @throws ConfigError for a rate outside of [0, 1) or `atLeast` outside of 1..E
 */
export function dropExperts(logits: Tensor, options: DropExpertsOptions): Tensor {
  const { rate, atLeast } = options
  const numExperts = logits.size(-1)
  checkRate(rate, 'router.expertDropout')
  if (!Number.isInteger(atLeast) || atLeast < 1 || atLeast > numExperts) {
    throw new ConfigError(`must be in 1..${numExperts} (the number of experts), got ${atLeast}`, {
      path: 'router.expertDropout.atLeast',
    })
  }
  if (rate === 0) return logits
  return tidy(() => logits.maskedFill(drawDropped(logits, options), -Infinity))
}

/** bool [E]: the experts whose draw is below the rate, unless it is among the `atLeast` highest. */
function drawDropped(logits: Tensor, { rate, atLeast, generator }: DropExpertsOptions): Tensor {
  return noGrad(() => {
    const drawE = rand([logits.size(-1)], { device: logits.device, ...(generator && { generator }) })
    const [highest] = drawE.topk(atLeast)
    return drawE.lt(rate).logicalAnd(drawE.lt(highest.min()))
  })
}
