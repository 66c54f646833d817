// Expert choice: experts pick tokens (arXiv:2202.09368). Balanced by construction; for encoders, since a token's experts
// depend on later tokens.
// Shapes: T tokens, D model, E experts, C tokens per expert.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { atLeastF32, Module, Parameter, uniform } from '../../nn/index.ts'
import { fullPrecision, noGrad, type Tensor, tensor, tidy, zerosLike } from '../../torch/index.ts'
import type { ExpertRouting } from '../routing/expert.ts'
import { largest, onRealRows } from './linear.ts'
import type { Router, TokenContext } from './router.ts'
import { count, type RouterRow } from './row.ts'

export interface ExpertChoiceRouterOptions {
  hiddenSize: number
  numExperts: number
  /** Experts per token on average, `C = capacity T / E`. Default 2. */
  capacity?: number
  /** Most experts of one token: the capped variant (section 3.3). Default: any number. */
  maxExperts?: number
}

/** `S = softmax_E(x W^T)`; each expert takes the C tokens with the highest scores, weighed by them. */
export class ExpertChoiceRouter extends Module implements Router<ExpertRouting> {
  readonly weight: Parameter // [E, D]
  readonly numExperts: number
  readonly capacity: number
  readonly maxExperts: number

  constructor({ hiddenSize, numExperts, capacity = 2, maxExperts = numExperts }: ExpertChoiceRouterOptions) {
    super()
    if (!(capacity > 0 && capacity <= numExperts)) {
      throw new ConfigError(
        `must be above 0 and at most ${numExperts} (the number of experts), got ${capacity}`,
        {
          path: 'router.capacity',
        },
      )
    }
    if (!Number.isInteger(maxExperts) || maxExperts < 1 || maxExperts < capacity) {
      throw new ConfigError(
        `must be a whole number of at least the capacity ${capacity}, got ${maxExperts}`,
        {
          path: 'router.maxExperts',
        },
      )
    }
    this.weight = new Parameter({
      shape: [numExperts, hiddenSize],
      role: 'router',
      init: uniform(1 / Math.sqrt(hiddenSize)),
    })
    this.numExperts = numExperts
    this.capacity = capacity
    this.maxExperts = maxExperts
  }

  get isCausal(): boolean {
    return false
  }

  get active(): number {
    return Math.ceil(this.capacity)
  }

  forward(xTD: Tensor, { mask = null }: TokenContext = {}): ExpertRouting {
    return fullPrecision(xTD.device, () =>
      tidy((): ExpertRouting => {
        const logits = atLeastF32(xTD).matmul(atLeastF32(this.weight).t()) // [T, E]
        const probs = logits.softmax(-1)
        const tokens = mask === null ? xTD.size(0) : mask.sum().item()
        const share = Math.ceil((this.capacity * tokens) / this.numExperts)
        const isCapped = this.maxExperts < this.numExperts
        const preferred = noGrad(() => {
          const scores = isCapped
            ? onRealRows(logits, mask, real => capped(real, share, this.maxExperts))
            : probs.detach()
          return mask === null ? scores : scores.maskedFill(mask.logicalNot().unsqueeze(-1), -1)
        })
        const chosen = largest(preferred.t(), Math.min(xTD.size(0), share)) // [E, C]
        const empty = preferred
          .t()
          .gather(-1, chosen)
          .le(isCapped ? 0.5 : -1)
        return {
          kind: 'expert',
          tokens: chosen.maskedFill(empty, -1),
          weights: probs.t().gather(-1, chosen).maskedFill(empty, 0),
          logits,
          probs,
          mask,
        }
      }),
    )
  }
}

/**
 * 1 where the capped assignment sends a token to an expert, else 0, of `max <S, A> + lambda H(A)` with rows of A^T
 * summing to C, columns at most to b, entries in 0..1 (equation 2), by Dykstra's alternating projections, and rounded so
 * that both bounds hold.
 */
export function capped(
  logitsTE: Tensor,
  perExpert: number,
  perToken: number,
  { lambda = 1e-3, iterations = 100 } = {},
): Tensor {
  return noGrad(() =>
    tidy(() => {
      const soft = dykstra(logitsTE.softmax(-1).div(lambda), perExpert, perToken, iterations)
      return rounded(soft, logitsTE.softmax(-1), perExpert, perToken)
    }),
  )
}

/** In log space: each projection scales, the corrections remember what it took away. */
function dykstra(start: Tensor, perExpert: number, perToken: number, iterations: number): Tensor {
  let log = start.sub(start.amax([0], true))
  let columnCorrection = zerosLike(log)
  let boundCorrection = zerosLike(log)
  for (let i = 0; i < iterations; i++) {
    log = log.sub(log.logsumexp([0], true)).add(Math.log(perExpert)) // every expert has C tokens: equality, no memory
    const beforeColumns = log.add(columnCorrection)
    const excess = beforeColumns.logsumexp([1], true).sub(Math.log(perToken)).clamp(0)
    log = beforeColumns.sub(excess)
    columnCorrection = beforeColumns.sub(log)
    const beforeBound = log.add(boundCorrection)
    log = beforeBound.clamp(null, 0)
    boundCorrection = beforeBound.sub(log)
  }
  return log
}

/** Greedy over pairs by plan, then by score: a pair is taken while its expert and its token have room. */
function rounded(plan: Tensor, scores: Tensor, perExpert: number, perToken: number): Tensor {
  const [tokens, experts] = plan.shape as [number, number]
  const order = plan.double().add(scores.double(), 1e-6).view([-1]).argsort(0, true).toTypedArray<'i64'>()
  const [expertRoom, tokenRoom] = [
    new Int32Array(experts).fill(perExpert),
    new Int32Array(tokens).fill(perToken),
  ]
  const taken = new Float64Array(tokens * experts)
  for (const pair of order) {
    const [t, e] = [Math.floor(Number(pair) / experts), Number(pair) % experts]
    if ((expertRoom[e] ?? 0) === 0 || (tokenRoom[t] ?? 0) === 0) continue
    expertRoom[e] = (expertRoom[e] ?? 0) - 1
    tokenRoom[t] = (tokenRoom[t] ?? 0) - 1
    taken[Number(pair)] = 1
  }
  return tensor(taken, { shape: plan.shape }).to({ dtype: plan.dtype, device: plan.device })
}

const schema = z.strictObject({
  kind: z.literal('expert-choice'),
  capacity: z.number().positive().default(2),
  /** Default: any number. */
  maxExperts: count.optional(),
})

/** `expert-choice` in recipes. */
export const expertChoice: RouterRow<typeof schema> = {
  schema,
  router: ExpertChoiceRouter,
  make: ({ capacity, maxExperts }, sizes) =>
    new ExpertChoiceRouter({ ...sizes, capacity, ...(maxExperts && { maxExperts }) }),
  tokensChoose: false,
}
