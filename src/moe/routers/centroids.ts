// Clusters: each expert has a centre on the sphere, tokens go to the nearest, centres follow their tokens.
// Shapes: T tokens, D model, E experts.

import { ConfigError } from '../../errors.ts'
import { atLeastF32, Constant, Module } from '../../nn/index.ts'
import { noGrad, ones, randn, type Tensor, tensor, tidy, where, zeros } from '../../torch/index.ts'
import { type Router, type TokenContext, type TokenRouting, withoutPadding } from '../routing.ts'
import { unit } from './cosine.ts'
import { largest } from './linear.ts'

export interface CentroidRouterOptions {
  hiddenSize: number
  numExperts: number
  /** How slowly a centre moves: `c <- unit(momentum c + (1 - momentum) mean)`. Default 0.99. */
  momentum?: number
  /** Steps without a token after which a centre moves to the farthest token. Default 100. */
  patience?: number
  /** Weigh an expert by `sigmoid(cos)`, through which tokens learn, instead of by 1. Default true. */
  gated?: boolean
}

/**
 * Online spherical k-means: `e = argmax_e cos(x, c_e)`. The centres are buffers: no gradient trains them. In training
 * they move once per optimizer step; one that stays idle is sown anew where a token is served worst.
 */
export class CentroidRouter extends Module implements Router {
  readonly centroids: Constant // [E, D], rows of length one
  readonly idle: Constant // i64 [E]: steps since the last token
  readonly numExperts: number
  readonly momentum: number
  readonly patience: number
  readonly gated: boolean
  readonly isCausal = true
  /** Sums and counts of tokens per expert since the last adapt(), and the token farthest from its centre. */
  #seen: { sums: Tensor; counts: Tensor; farthest: Tensor } | null = null

  constructor({
    hiddenSize,
    numExperts,
    momentum = 0.99,
    patience = 100,
    gated = true,
  }: CentroidRouterOptions) {
    super()
    if (!(momentum >= 0 && momentum <= 1)) {
      throw new ConfigError(`must be between 0 and 1, got ${momentum}`, { path: 'router.momentum' })
    }
    this.centroids = new Constant(tidy(() => unit(randn([numExperts, hiddenSize]))))
    this.idle = new Constant(zeros([numExperts], { dtype: 'i64' }))
    this.numExperts = numExperts
    this.momentum = momentum
    this.patience = patience
    this.gated = gated
  }

  forward(xTD: Tensor, { mask = null }: TokenContext = {}): TokenRouting {
    const routing = tidy((): TokenRouting => {
      const logits = unit(atLeastF32(xTD)).matmul(atLeastF32(this.centroids).t()) // [T, E], cosines
      const indices = largest(logits, 1)
      const nearest = logits.gather(-1, indices)
      const weights = this.gated ? nearest.sigmoid() : nearest.detach().mul(0).add(1)
      return { kind: 'token', indices, weights, logits, probs: logits.softmax(-1), mask }
    })
    const served = withoutPadding(routing)
    if (this.training) this.#see(xTD, served)
    return served
  }

  #see(xTD: Tensor, { indices, logits }: TokenRouting): void {
    const before = this.#seen
    this.#seen = noGrad(() =>
      tidy(() => {
        const x = unit(atLeastF32(xTD.detach()))
        const expertT = indices.squeeze(-1)
        const onehot = zeros([x.size(0), this.numExperts + 1], { dtype: x.dtype, device: x.device })
          .scatter_(1, expertT.add(1).unsqueeze(-1), 1) // column 0 takes padding
          .narrow(1, 1, this.numExperts)
        const sums = onehot.t().matmul(x) // [E, D]
        const counts = onehot.sum(0) // [E]
        const cosines = logits.amax([-1]).maskedFill(expertT.lt(0), Infinity)
        const farthest =
          x.size(0) > 0
            ? x.indexSelect(0, cosines.argmin().view([1]))
            : zeros([1, x.size(1)], { dtype: x.dtype })
        return before
          ? { sums: sums.add(before.sums), counts: counts.add(before.counts), farthest }
          : { sums, counts, farthest }
      }),
    )
    for (const tensor of Object.values(this.#seen)) tensor.persist()
    for (const tensor of Object.values(before ?? {})) tensor.dispose()
  }

  adapt(): void {
    const seen = this.#seen
    this.#seen = null
    if (seen === null) return
    noGrad(() =>
      tidy(() => {
        const used = seen.counts.gt(0)
        const mean = unit(seen.sums)
        const { centroids, idle } = this
        const moved = unit(centroids.mul(this.momentum).add(mean.to(centroids.dtype), 1 - this.momentum))
        centroids.copy_(where(used.unsqueeze(-1), moved, centroids))
        idle.copy_(idle.add(1).mul(used.logicalNot().long()))
        const lost = idle.gt(this.patience)
        centroids.copy_(where(lost.unsqueeze(-1), seen.farthest.to(centroids.dtype), centroids))
        idle.maskedFill_(lost, 0)
      }),
    )
    for (const tensor of Object.values(seen)) tensor.dispose()
  }
}

/**
 * Lloyd's algorithm on the sphere, for centres from recorded features (hard mixtures, arXiv:1704.06363). The mean
 * cosine of points to their centres never falls.
 *
 * @param points [N, D]
 * @returns centres [E, D] and the mean cosine after each round
 */
export function sphericalKMeans(
  points: Tensor,
  numExperts: number,
  { rounds = 20, seed = 0 } = {},
): { centroids: Tensor; objective: number[] } {
  return noGrad(() =>
    tidy(() => {
      const x = unit(atLeastF32(points))
      let centroids = farthestFirst(x, numExperts, seed)
      const objective: number[] = []
      for (let round = 0; round < rounds; round++) {
        const [nearest, expert] = x.matmul(centroids.t()).max(-1)
        objective.push(nearest.mean().item())
        const onehot = zeros([x.size(0), numExperts], { dtype: x.dtype }).scatter_(1, expert.unsqueeze(-1), 1)
        const used = onehot.sum(0).gt(0).unsqueeze(-1)
        centroids = where(used, unit(onehot.t().matmul(x)), centroids)
      }
      return { centroids, objective }
    }),
  )
}

/** A start whose centres lie apart: each next one is the point that the ones before serve worst. */
function farthestFirst(x: Tensor, numExperts: number, seed: number): Tensor {
  const start = randn([x.size(1)], { seed, dtype: x.dtype })
  const chosen = [x.matmul(start).argmax().item()]
  const nearest = ones([x.size(0)], { dtype: x.dtype }).mul(-Infinity)
  while (chosen.length < numExperts) {
    const last = x.select(0, chosen.at(-1) ?? 0)
    nearest.copy_(nearest.maximum(x.matmul(last)))
    chosen.push(nearest.argmin().item())
  }
  return x.index([tensor(chosen.map(BigInt))])
}
