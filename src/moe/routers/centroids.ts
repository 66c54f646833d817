// Clusters: each expert has a centre on the sphere, tokens go to the nearest, centres follow their tokens.
// Shapes: T tokens, D model, E experts.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { atLeastF32, Buffer, Module } from '../../nn/index.ts'
import {
  arange,
  cat,
  fullPrecision,
  noGrad,
  ones,
  onesLike,
  randn,
  type Tensor,
  tensor,
  tidy,
  where,
  zeros,
} from '../../torch/index.ts'
import { type TokenRouting, withoutPadding } from '../routing/token.ts'
import { unit } from './cosine.ts'
import { largest } from './linear.ts'
import type { Router, TokenContext } from './router.ts'
import { count, type RouterRow } from './row.ts'

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
  readonly centroids: Buffer // [E, D], rows of length one
  readonly idle: Buffer // i64 [E]: steps since the last token
  readonly numExperts: number
  readonly momentum: number
  readonly patience: number
  readonly gated: boolean
  /** Sums and counts of tokens per expert since the last adapt(), and the tokens farthest from their centres. */
  #seen: Seen | null = null

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
    this.centroids = new Buffer([numExperts, hiddenSize], {
      value: () => unit(randn([numExperts, hiddenSize])),
    })
    this.idle = new Buffer([numExperts], { dtype: 'i64' })
    this.numExperts = numExperts
    this.momentum = momentum
    this.patience = patience
    this.gated = gated
  }

  get isCausal(): boolean {
    return true
  }

  get active(): number {
    return 1
  }

  forward(xTD: Tensor, { mask = null }: TokenContext = {}): TokenRouting {
    const routing = fullPrecision(xTD.device, () =>
      tidy((): TokenRouting => {
        const x = unit(atLeastF32(xTD))
        const logits = x.matmul(this.centroids.to(x.dtype).t()) // [T, E], cosines
        const indices = largest(logits, 1)
        const nearest = logits.gather(-1, indices)
        const weights = this.gated ? nearest.sigmoid() : onesLike(nearest)
        return { kind: 'token', indices, weights, logits, probs: logits.softmax(-1), mask }
      }),
    )
    const served = withoutPadding(routing)
    if (this.remembers) this.#see(xTD, served)
    return served
  }

  #see(xTD: Tensor, routing: TokenRouting): void {
    const before = this.#seen
    this.#seen = noGrad(() => fullPrecision(xTD.device, () => tidy(() => tally(xTD, routing, before))))
    for (const tensor of Object.values(this.#seen)) tensor.persist()
    this.#forget(before)
  }

  adapt(): void {
    const seen = this.#seen
    this.#seen = null
    if (seen !== null) noGrad(() => tidy(() => this.#move(seen)))
    this.#forget(seen)
  }

  discard(): void {
    this.#forget(this.#seen)
    this.#seen = null
  }

  #forget(seen: Seen | null): void {
    for (const tensor of Object.values(seen ?? {})) tensor.dispose()
  }

  #move({ sums, counts, farthest }: Seen): void {
    const { centroids, idle } = this
    const used = counts.gt(0)
    const moved = unit(centroids.mul(this.momentum).add(unit(sums).to(centroids.dtype), 1 - this.momentum))
    centroids.copy_(where(used.unsqueeze(-1), moved, centroids))
    idle.copy_(idle.add(1).mul(used.logicalNot().long()))
    if (farthest.size(0) === 0) return
    const lost = idle.gt(this.patience)
    const place = lost.cumsum(0).sub(1).clamp(0).remainder(farthest.size(0)) // each lost centre gets a token of its own
    const sown = farthest.indexSelect(0, place).to(centroids.dtype)
    centroids.copy_(where(lost.unsqueeze(-1), sown, centroids))
    idle.maskedFill_(lost, 0)
  }
}

/** What micro-batches showed since the last step. */
interface Seen {
  sums: Tensor // [E, D], of unit tokens
  counts: Tensor // [E]
  farthest: Tensor // [at most E, D]: tokens far from their centres, the farthest first
}

function tally(xTD: Tensor, { indices, logits, mask }: TokenRouting, before: Seen | null): Seen {
  const numExperts = logits.size(-1)
  const all = unit(atLeastF32(xTD.detach()))
  const places =
    mask === null ? arange(0, all.size(0), 1, { device: all.device }) : mask.nonzero().squeeze(-1)
  const x = all.indexSelect(0, places) // [N, D], real tokens
  const chosen = indices.indexSelect(0, places) // [N, 1]
  const onehot = zeros([x.size(0), numExperts], { dtype: x.dtype, device: x.device }).scatter_(1, chosen, 1)
  const [sums, counts] = [onehot.t().matmul(x), onehot.sum(0)]
  const order = logits.detach().indexSelect(0, places).gather(-1, chosen).squeeze(-1).argsort(0)
  const farthest = x.indexSelect(0, order.narrow(0, 0, Math.min(numExperts, x.size(0))))
  if (before === null) return { sums, counts, farthest }
  const both = cat([farthest, before.farthest])
  return {
    sums: sums.add(before.sums),
    counts: counts.add(before.counts),
    farthest: both.narrow(0, 0, Math.min(numExperts, both.size(0))),
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
        const { dtype, device } = x
        const onehot = zeros([x.size(0), numExperts], { dtype, device }).scatter_(1, expert.unsqueeze(-1), 1)
        const used = onehot.sum(0).gt(0).unsqueeze(-1)
        centroids = where(used, unit(onehot.t().matmul(x)), centroids)
      }
      return { centroids, objective }
    }),
  )
}

/** A start whose centres lie apart: each next one is the point that the ones before serve worst. */
function farthestFirst(x: Tensor, numExperts: number, seed: number): Tensor {
  const { dtype, device } = x
  const start = randn([x.size(1)], { seed, dtype }).to(device) // the same on every device
  const chosen = [x.matmul(start).argmax().item()]
  const nearest = ones([x.size(0)], { dtype, device }).mul(-Infinity)
  while (chosen.length < numExperts) {
    const last = x.select(0, chosen.at(-1) ?? 0)
    nearest.copy_(nearest.maximum(x.matmul(last)))
    chosen.push(nearest.argmin().item())
  }
  return x.indexSelect(0, tensor(chosen.map(BigInt)).to(device))
}

const schema = z.strictObject({
  kind: z.literal('centroids'),
  momentum: z.number().min(0).max(1).default(0.99),
  patience: count.default(100),
})

/** `centroids` in recipes. */
export const centroids: RouterRow<typeof schema> = {
  schema,
  router: CentroidRouter,
  make: ({ momentum, patience }, sizes) => new CentroidRouter({ ...sizes, momentum, patience }),
}
