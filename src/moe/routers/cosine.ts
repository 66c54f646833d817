// Cosine routing: the token meets an embedding of each expert's abilities on a sphere (X-MoE, arXiv:2204.09179).
// Shapes: T tokens, D model, E experts, d routing width, K chosen per token.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { constant, normal, Parameter } from '../../nn/index.ts'
import type { Tensor } from '../../torch/index.ts'
import { type Choice, checkTopK, LinearRouter, type LinearRouterOptions, largest } from './linear.ts'
import { count, isAlone, type RouterRow } from './row.ts'

export interface CosineRouterOptions extends LinearRouterOptions {
  topK: number
  /** Width d that tokens are projected to. Default: half the number of experts, at least 2. */
  routingSize?: number
  /** Initial temperature. Default 0.07. */
  temperature?: number
}

/**
 * `z_e = cos(P x, e_e) / tau` with a learnt projection P, expert embeddings and temperature; then top-k of the softmax,
 * over its sum. Low dimension and unit length keep representations from collapsing onto the experts.
 */
export class CosineRouter extends LinearRouter {
  readonly expert_embeddings: Parameter // [E, d]
  readonly log_temperature: Parameter // []
  readonly topK: number

  constructor({ topK, routingSize, temperature = 0.07, ...options }: CosineRouterOptions) {
    const size = routingSize ?? Math.max(2, options.numExperts >> 1)
    super(options, size)
    checkTopK(topK, options.numExperts)
    if (!(temperature > 0))
      throw new ConfigError(`must be above 0, got ${temperature}`, { path: 'router.temperature' })
    this.topK = topK
    this.expert_embeddings = new Parameter({
      shape: [options.numExperts, size],
      role: 'router',
      init: normal(1),
    })
    this.log_temperature = new Parameter({ shape: [], role: 'router', init: constant(Math.log(temperature)) })
  }

  get active(): number {
    return this.topK
  }

  protected override score(xTD: Tensor): Tensor {
    const projected = unit(super.score(xTD)) // [T, d]
    const abilities = unit(this.expert_embeddings.to(projected.dtype)) // [E, d]
    return projected.matmul(abilities.t()).div(this.log_temperature.to(projected.dtype).exp())
  }

  protected override choose(logitsTE: Tensor): Choice {
    const probs = logitsTE.softmax(-1)
    const indices = largest(probs, this.topK)
    const chosen = probs.gather(-1, indices)
    return { indices, weights: chosen.div(chosen.sum(-1, true)), probs }
  }
}

/** Rows of length one; a row of zeros stays. */
export function unit(rows: Tensor): Tensor {
  return rows.div(rows.square().sum(-1, true).add(1e-24).sqrt())
}

const schema = z.strictObject({
  kind: z.literal('cosine'),
  k: count.default(2),
  /** Default: half the experts, at least 2. */
  routingSize: count.optional(),
  temperature: z.number().positive().default(0.07),
})

/** `cosine` in recipes. */
export const cosine: RouterRow<typeof schema> = {
  schema,
  router: CosineRouter,
  make: ({ k, routingSize, temperature }, sizes) =>
    new CosineRouter({ ...sizes, topK: k, temperature, ...(routingSize && { routingSize }) }),
  hasConstantWeight: isAlone,
}
