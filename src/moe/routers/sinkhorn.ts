// Sinkhorn routing: choose by a balanced transport plan, weigh by the raw scores (arXiv:2202.01169, S-BASE; Megatron).
// Shapes: T tokens, E experts, K chosen per token.

import { z } from 'zod'
import { noGrad, type Tensor, tidy } from '../../torch/index.ts'
import {
  type Choice,
  checkTopK,
  LinearRouter,
  type LinearRouterOptions,
  largest,
  onRealRows,
} from './linear.ts'
import type { TokenContext } from './router.ts'
import { count, type RouterRow } from './row.ts'

export interface SinkhornRouterOptions extends LinearRouterOptions {
  topK: number
}

/**
 * In training the K largest entries of each row of the plan are chosen, which balances the load over the batch, and so
 * looks at later tokens; in evaluation the K largest logits. The weights are `sigmoid(z)` for K = 1, else the softmax
 * over the chosen logits.
 */
export class SinkhornRouter extends LinearRouter {
  readonly topK: number

  constructor({ topK, ...options }: SinkhornRouterOptions) {
    super(options)
    checkTopK(topK, options.numExperts)
    this.topK = topK
  }

  get active(): number {
    return this.topK
  }

  protected override choose(logitsTE: Tensor, { mask = null }: TokenContext): Choice {
    const preferred = this.training ? onRealRows(logitsTE, mask, sinkhorn) : logitsTE
    const indices = largest(preferred, this.topK)
    const chosen = logitsTE.gather(-1, indices)
    return {
      indices,
      weights: this.topK === 1 ? chosen.sigmoid() : chosen.softmax(-1),
      probs: logitsTE.softmax(-1),
    }
  }
}

/**
 * log of the plan `diag(a) exp(z) diag(b)` whose rows sum to 1/T and columns to 1/E: alternating normalisation in log
 * space, where large logits cannot overflow.
 */
export function sinkhorn(logitsTE: Tensor, { tolerance = 1e-4, maxIterations = 200 } = {}): Tensor {
  const [tokens, experts] = logitsTE.shape as [number, number]
  return noGrad(() =>
    tidy(() => {
      let plan = logitsTE.detach()
      for (let i = 0; i < maxIterations && tokens > 0; i++) {
        plan = plan.sub(plan.logsumexp([0], true)).sub(Math.log(experts)) // columns
        const rows = plan.logsumexp([1], true).add(Math.log(tokens)) // 0 where a row has its share
        plan = plan.sub(rows)
        if (rows.abs().max().item() < tolerance) break
      }
      return plan
    }),
  )
}

const schema = z.strictObject({ kind: z.literal('sinkhorn'), k: count.default(1) })

/** `sinkhorn` in recipes. */
export const sinkhornTopK: RouterRow<typeof schema> = {
  schema,
  router: SinkhornRouter,
  make: ({ k }, sizes) => new SinkhornRouter({ ...sizes, topK: k }),
}
