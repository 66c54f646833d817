// BASE: in training a balanced assignment, in evaluation the best expert (arXiv:2103.16716).
// Shapes: T tokens, D model, E experts.

import { z } from 'zod'
import { ownInit } from '../../nn/index.ts'
import { type Tensor, tensor } from '../../torch/index.ts'
import { auctionAssignment } from './assignment.ts'
import { type Choice, LinearRouter, type LinearRouterOptions, largest } from './linear.ts'
import type { TokenContext } from './router.ts'
import type { RouterRow } from './row.ts'

/**
 * One expert per token, weight `sigmoid(h . w_e)`, through which alone the centroids learn. In training each expert
 * gets the same number of tokens, so that no loss has to balance them; the assignment looks at the whole batch. With
 * experts that end in a residual connection, as the paper's, `alpha f(h) + (1 - alpha) h` is what the layer's own
 * residual makes of this.
 */
export class BaseRouter extends LinearRouter {
  constructor(options: LinearRouterOptions) {
    super({ ...options, init: ownInit('orthogonal rows', weight => orthogonal_(weight, 0.1)) })
  }

  get active(): number {
    return 1
  }

  protected override choose(logitsTE: Tensor, { mask = null }: TokenContext): Choice {
    const indices = this.training ? balanced(logitsTE, mask) : largest(logitsTE, 1)
    return { indices, weights: logitsTE.gather(-1, indices).sigmoid(), probs: logitsTE.softmax(-1) }
  }
}

/** i64 [T, 1]; padding, which takes no part, gets expert 0 and is emptied by the caller. */
function balanced(logitsTE: Tensor, mask: Tensor | null): Tensor {
  const [tokens, experts] = logitsTE.shape as [number, number]
  const all = logitsTE.detach().double().toTypedArray<'f64'>()
  const real = mask === null ? null : mask.toTypedArray<'bool'>()
  const kept = Array.from({ length: tokens }, (_, t) => t).filter(t => real === null || real[t] !== 0)
  const scores = Float64Array.from(
    kept.flatMap(t => Array.from(all.subarray(t * experts, (t + 1) * experts))),
  )
  const owner = auctionAssignment({ scores, tokens: kept.length, experts }, 100)
  const indices = new BigInt64Array(tokens)
  for (const [place, t] of kept.entries()) indices[t] = BigInt(owner[place] ?? 0)
  return tensor(indices, { shape: [tokens, 1] }).to(logitsTE.device)
}

/** Rows (as many as the width allows) at right angles, of length `gain`: Gram-Schmidt on normal numbers. */
function orthogonal_(weight: Tensor, gain: number): void {
  const [rows, width] = weight.shape as [number, number]
  weight.normal_(0, 1)
  for (let row = 0; row < rows; row++) {
    const current = weight.select(0, row)
    if (row > 0 && row < width) {
      const earlier = weight.narrow(0, 0, row).div(gain)
      current.sub_(earlier.t().matmul(earlier.matmul(current)))
    }
    current.mul_(gain / current.square().sum().sqrt().item())
  }
}

const schema = z.strictObject({ kind: z.literal('base') })

/** `base` in recipes. */
export const base: RouterRow<typeof schema> = {
  schema,
  router: BaseRouter,
  make: (_, sizes) => new BaseRouter(sizes),
}
