// Hash layers: a token's id decides, once and for all (arXiv:2106.04426).
// Shapes: T tokens, V vocabulary, E experts, K hash functions.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { Buffer, Module } from '../../nn/index.ts'
import { noGrad, onesLike, randint, type Tensor, tensor, tidy, zeros } from '../../torch/index.ts'
import { type TokenRouting, withoutPadding } from '../routing/token.ts'
import type { Router, TokenContext } from './router.ts'
import { count, type RouterRow } from './row.ts'

export interface HashRouterOptions {
  numExperts: number
  /** Ids that may occur, 0 to vocabSize - 1. */
  vocabSize: number
  /**
   * Hash functions K; the experts form K equal parts, and each function chooses from a part of its own (MultiHash).
   * Default 1.
   */
  hashes?: number
  /** Seed of a random table. Default 0. */
  seed?: number
  /** How often each id occurs: gives a balanced table, most frequent ids first to the lightest expert. */
  frequencies?: readonly number[]
}

/** `expert = h(id)`, weight 1. Nothing is learnt, nothing can collapse; the table is in checkpoints. */
export class HashRouter extends Module implements Router {
  readonly table: Buffer // i64 [K, V]
  readonly numExperts: number

  constructor({ numExperts, vocabSize, hashes = 1, seed = 0, frequencies }: HashRouterOptions) {
    super()
    if (!Number.isInteger(hashes) || hashes < 1 || numExperts % hashes !== 0) {
      throw new ConfigError(`must divide the ${numExperts} experts, got ${hashes}`, { path: 'router.hashes' })
    }
    if (!Number.isInteger(vocabSize) || vocabSize < 1) {
      throw new ConfigError(`must be a whole number above 0, got ${vocabSize}`, { path: 'router.vocabSize' })
    }
    if (frequencies && frequencies.length !== vocabSize) {
      throw new ConfigError(`has ${frequencies.length} entries for ${vocabSize} ids`, {
        path: 'router.frequencies',
      })
    }
    this.numExperts = numExperts
    const bins = numExperts / hashes
    this.table = new Buffer([hashes, vocabSize], {
      dtype: 'i64',
      value: () =>
        frequencies
          ? tensor(Array.from({ length: hashes }, (_, hash) => balancedTable(frequencies, bins, hash))).long()
          : randint(0, bins, [hashes, vocabSize], { seed }),
    })
  }

  get isCausal(): boolean {
    return true
  }

  get active(): number {
    return this.table.size(0)
  }

  forward(xTD: Tensor, { ids, mask = null }: TokenContext = {}): TokenRouting {
    if (!ids) throw new ConfigError('needs the ids of the tokens: pass { ids }', { path: 'router' })
    const routing = noGrad(() => tidy(() => this.#route(xTD, ids)))
    return withoutPadding({ ...routing, mask })
  }

  #route(xTD: Tensor, ids: Tensor): Omit<TokenRouting, 'mask'> {
    const [hashes, vocabSize] = this.table.shape as [number, number]
    if (ids.numel > 0 && (ids.max().item() >= vocabSize || ids.min().item() < 0)) {
      throw new ConfigError(`has an id outside of 0..${vocabSize - 1}: ${ids.max().item()}`, {
        path: 'router.ids',
      })
    }
    const part = this.numExperts / hashes
    const offsets = tensor(Array.from({ length: hashes }, (_, hash) => BigInt(hash * part))).to(ids.device)
    const indices = this.table.indexSelect(1, ids).t().add(offsets) // [T, K]
    const weights = onesLike(indices).to(xTD.dtype)
    const chosen = zeros([ids.numel, this.numExperts], { dtype: weights.dtype, device: ids.device })
    const probs = chosen.scatter_(1, indices, 1 / hashes)
    return { kind: 'token', indices, weights, logits: probs.log(), probs }
  }
}

/**
 * Ids by descending frequency, each to the lightest bin so far: no bin is heavier than the lightest by more than the
 * frequency of one id. Later hash functions start from other bins, so that they differ.
 */
export function balancedTable(frequencies: readonly number[], bins: number, hash = 0): number[] {
  const load = new Array<number>(bins).fill(0)
  const table = new Array<number>(frequencies.length).fill(0)
  const order = frequencies
    .map((_, id) => id)
    .sort((a, b) => (frequencies[b] ?? 0) - (frequencies[a] ?? 0) || a - b)
  for (const [place, id] of order.entries()) {
    const first = (place * hash) % bins // ties are broken from here on
    let lightest = first
    for (let step = 1; step < bins; step++) {
      const bin = (first + step) % bins
      if ((load[bin] ?? 0) < (load[lightest] ?? 0)) lightest = bin
    }
    table[id] = lightest
    load[lightest] = (load[lightest] ?? 0) + (frequencies[id] ?? 0)
  }
  return table
}

const schema = z.strictObject({
  kind: z.literal('hash'),
  hashes: count.default(1),
  seed: z.int().nonnegative().default(0),
})

/** `hash` in recipes. */
export const hash: RouterRow<typeof schema> = {
  schema,
  router: HashRouter,
  make: ({ hashes, seed }, { numExperts, vocabSize }) =>
    new HashRouter({ numExperts, vocabSize, hashes, seed }),
}
