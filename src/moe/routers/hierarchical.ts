// Two levels: first a group, then an expert of the group (arXiv:1701.06538 appendix B).
// Shapes: T tokens, G groups, M experts per group, E = G M experts, A groups and B experts chosen.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { atLeastF32, constant, Module, Parameter } from '../../nn/index.ts'
import { fullPrecision, type Tensor, tidy, zerosLike } from '../../torch/index.ts'
import { type TokenRouting, withoutPadding } from '../routing/token.ts'
import { checkTopK, largest } from './linear.ts'
import { smoothLoad, squaredVariation, sumOverTokens, withNoise } from './noisy-top-k.ts'
import type { Router, TokenContext } from './router.ts'
import { count, type RouterRow } from './row.ts'

export interface HierarchicalRouterOptions {
  hiddenSize: number
  numExperts: number
  /** Groups G, which divide the experts. */
  groups: number
  /** Groups A of a token. Default 2. */
  topGroups?: number
  /** Experts B of a token in each of its groups. Default 2. */
  topK?: number
}

/**
 * `w_ij = g_i h_{j|i}`: noisy top-A over groups, and within each a noisy top-B over its experts. Its own losses, squared
 * coefficients of variation: `primaryImportance` and `primaryLoad` of the groups; `importance` of the experts,
 * `sum_t g_i h_{j|i}`; and `load_ij = load_i load_{j|i} / |X_i|`, the smooth load of the group times the mean smooth load
 * of the expert over the tokens X_i of its group, which keeps a gradient to the first gate.
 */
export class HierarchicalRouter extends Module implements Router {
  readonly primary_weight: Parameter // [G, D]
  readonly primary_noise_weight: Parameter // [G, D]
  /** The experts of group i are rows i M to (i + 1) M. */
  readonly weight: Parameter // [E, D]
  readonly noise_weight: Parameter // [E, D]
  readonly numExperts: number
  readonly groups: number
  readonly topGroups: number
  readonly topK: number

  constructor({ hiddenSize, numExperts, groups, topGroups = 2, topK = 2 }: HierarchicalRouterOptions) {
    super()
    if (!Number.isInteger(groups) || groups < 1 || numExperts % groups !== 0) {
      throw new ConfigError(`must divide the ${numExperts} experts, got ${groups}`, { path: 'router.groups' })
    }
    checkTopK(topGroups, groups, 'router.topGroups', 'the number of groups')
    checkTopK(topK, numExperts / groups, 'router.k', 'the experts of a group')
    // No signal, some noise, as the flat router starts.
    const zero = (rows: number): Parameter =>
      new Parameter({ shape: [rows, hiddenSize], role: 'router', init: constant(0) })
    this.primary_weight = zero(groups)
    this.primary_noise_weight = zero(groups)
    this.weight = zero(numExperts)
    this.noise_weight = zero(numExperts)
    this.numExperts = numExperts
    this.groups = groups
    this.topGroups = topGroups
    this.topK = topK
  }

  get isCausal(): boolean {
    return true
  }

  get active(): number {
    return this.topGroups * this.topK
  }

  forward(xTD: Tensor, { mask = null }: TokenContext = {}): TokenRouting {
    const routing = fullPrecision(xTD.device, () => tidy(() => this.#route(atLeastF32(xTD), mask)))
    return withoutPadding(routing)
  }

  #route(x: Tensor, mask: Tensor | null): TokenRouting {
    const [tokens, members] = [x.size(0), this.numExperts / this.groups]
    const first = this.#noisy(x, this.primary_weight, this.primary_noise_weight) // [T, G]
    const groupTA = largest(first.noisy, this.topGroups)
    const groupWeights = first.noisy.gather(-1, groupTA).softmax(-1)
    const second = this.#noisy(x, this.weight, this.noise_weight) // [T, E]
    const within = (perExpert: Tensor): Tensor => perExpert.view([tokens, this.groups, members])
    const { indices, weights } = this.#chooseWithin(groupTA, groupWeights, within(second.noisy))
    const groupLoad = smoothLoad(first.clean, first.noisy, first.deviation, this.topGroups) // [T, G]
    const load = smoothLoad(within(second.clean), within(second.noisy), within(second.deviation), this.topK)
    const probs = first.noisy.softmax(-1).unsqueeze(-1).mul(within(second.noisy).softmax(-1))
    const losses = {
      primaryImportance: squaredVariation(
        sumOverTokens(zerosLike(first.noisy).scatter(-1, groupTA, groupWeights), mask),
      ),
      primaryLoad: squaredVariation(sumOverTokens(groupLoad, mask)),
      importance: squaredVariation(
        sumOverTokens(zerosLike(second.noisy).scatter(-1, indices, weights), mask),
      ),
      load: squaredVariation(loadOfExperts(groupTA, groupLoad, load, mask)),
    }
    return { kind: 'token', indices, weights, logits: second.clean, probs: probs.flatten(1), mask, losses }
  }

  #noisy(
    x: Tensor,
    weight: Tensor,
    noiseWeight: Tensor,
  ): { clean: Tensor; noisy: Tensor; deviation: Tensor } {
    const clean = x.matmul(weight.to(x.dtype).t())
    return { clean, ...withNoise(clean, x, noiseWeight, this.training) }
  }

  /** The B best experts of each chosen group, best weights first: [T, A*B]. */
  #chooseWithin(
    groupTA: Tensor,
    groupWeights: Tensor,
    noisyTGM: Tensor,
  ): { indices: Tensor; weights: Tensor } {
    const [tokens, , members] = noisyTGM.shape as [number, number, number]
    const noisyTAM = noisyTGM.gather(1, groupTA.unsqueeze(-1).expand([tokens, this.topGroups, members]))
    const memberTAB = largest(noisyTAM, this.topK)
    const shares = noisyTAM.gather(-1, memberTAB).softmax(-1)
    const weights = groupWeights.unsqueeze(-1).mul(shares).flatten(1)
    const indices = groupTA.unsqueeze(-1).mul(members).add(memberTAB).flatten(1)
    const best = largest(weights, weights.size(-1))
    return { indices: indices.gather(-1, best), weights: weights.gather(-1, best) }
  }
}

/** `load_i load_{j|i} / |X_i|`, [E]; an empty group has load 0. */
function loadOfExperts(groupTA: Tensor, groupLoad: Tensor, loadTGM: Tensor, mask: Tensor | null): Tensor {
  const uses = zerosLike(groupLoad).detach().scatter(-1, groupTA, 1) // [T, G]: t is in X_i
  const tokens = sumOverTokens(uses, mask).clamp(1).unsqueeze(-1) // [G, 1]
  const within = sumOverTokens(loadTGM.mul(uses.unsqueeze(-1)), mask) // [G, M]
  return sumOverTokens(groupLoad, mask).unsqueeze(-1).mul(within).div(tokens).flatten()
}

const schema = z.strictObject({
  kind: z.literal('hierarchical'),
  groups: count,
  topGroups: count.default(2),
  k: count.default(2),
})

/** `hierarchical` in recipes. */
export const hierarchical: RouterRow<typeof schema> = {
  schema,
  router: HierarchicalRouter,
  make: ({ groups, topGroups, k }, sizes) => new HierarchicalRouter({ ...sizes, groups, topGroups, topK: k }),
  ownLosses: { primaryImportance: 0.1, primaryLoad: 0.1, importance: 0.1, load: 0.1 },
  hasConstantWeight: ({ k, topGroups }) => k === 1 && topGroups === 1,
}
