// T5's relative position bias (arXiv:1910.10683 section 2.1): a learnt number per head and bucket of distances.
// Shapes: T queries, S positions attended to, H heads.

import { arange, noGrad, type Tensor, tensor } from '../../torch/index.ts'
import { Embedding } from '../embedding.ts'
import { Module } from '../module.ts'

export interface RelativePositionOptions {
  numHeads: number
  /** Default 32. */
  numBuckets?: number
  /** All distances from here on share a bucket. Default 128. */
  maxDistance?: number
  /** Whether later positions have buckets of their own, as encoders want. */
  bidirectional: boolean
}

export class RelativePositionBias extends Module {
  readonly weight: Embedding['weight'] // [buckets, H]
  readonly #embedding: Embedding
  readonly #options: Required<RelativePositionOptions>

  constructor({ numHeads, numBuckets = 32, maxDistance = 128, bidirectional }: RelativePositionOptions) {
    super()
    this.#embedding = new Embedding(numBuckets, numHeads, { role: 'attention' })
    this.weight = this.#embedding.weight
    this.#options = { numHeads, numBuckets, maxDistance, bidirectional }
  }

  /** The bias of queries at positions `past .. past + T - 1` on positions `0 .. S - 1`: [1, H, T, S]. */
  forward(queries: number, positions: number, past = 0): Tensor {
    const buckets = noGrad(() => this.#buckets(queries, positions, past)) // [T, S]
    return this.#embedding.forward(buckets).permute([2, 0, 1]).unsqueeze(0)
  }

  #buckets(queries: number, positions: number, past: number): Tensor {
    const { device } = this.weight
    const rows = arange(past, past + queries, 1, { device }).unsqueeze(1) // [T, 1]
    const distances = arange(0, positions, 1, { device }).sub(rows) // key - query, [T, S]
    const least = -(past + queries - 1)
    const table = Array.from({ length: positions - least }, (_, i) =>
      BigInt(relativeBucket(i + least, this.#options)),
    )
    return tensor(table).to(device).take(distances.sub(least))
  }
}

/**
 * The bucket of a distance `key - query`. Half of the buckets (of each direction) hold one distance each, the others
 * grow logarithmically up to `maxDistance`.
 */
export function relativeBucket(
  distance: number,
  { numBuckets, maxDistance, bidirectional }: Omit<Required<RelativePositionOptions>, 'numHeads'>,
): number {
  const buckets = bidirectional ? numBuckets >> 1 : numBuckets
  const later = bidirectional && distance > 0 ? buckets : 0
  const far = bidirectional ? Math.abs(distance) : Math.max(0, -distance)
  const exact = buckets >> 1
  if (far < exact) return later + far
  // In f32, as the tables of trained models are looked up.
  const ratio = Math.fround(Math.fround(Math.log(far / exact)) / Math.fround(Math.log(maxDistance / exact)))
  return later + Math.min(buckets - 1, exact + Math.trunc(ratio * (buckets - exact)))
}
