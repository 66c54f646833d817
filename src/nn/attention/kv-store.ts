// The one door into attention: queries, keys and values of new tokens go in, and who knows of earlier tokens mixes.
// Shapes: N new tokens of B sequences, one sequence after the other, H heads, G heads of keys and values, D width of a
// query and a key, E width of a value.

import type { Tensor } from '../../torch/index.ts'
import type { Dropout } from '../dropout.ts'
import type { Rotation } from '../rope.ts'

/** What attention is to know beside queries, keys and values. */
export interface AttendOptions {
  /** Sequence b is the tokens `starts[b] .. starts[b + 1] - 1`: B + 1 numbers, 0 first and N last. */
  starts: readonly number[]
  /** D */
  headDim: number
  /** Multiplies the scores. */
  scale: number
  /** Turns queries and keys; null: they are turned already, or never. */
  rotation: Rotation | null
  /** Whether a token sees nothing of later ones. */
  isCausal: boolean
  /** Tokens that each one looks back on, itself included; null: all. */
  window: number | null
  /** `[H]`: a logit per head that takes part in the softmax and contributes no value (gpt-oss). */
  sinks: Tensor | null
  /** The bias of the scores of T tokens that follow `past` others: [1, H, T, past + T] (T5). */
  bias: ((past: number, length: number) => Tensor) | null
  /** How heads follow from what is kept, where that is not keys and values. */
  latent: LatentForm | null
  /** Of the probabilities, in training. Default: none. */
  dropout?: Dropout
}

/** Attention over rows that all heads share (DeepSeek-V2): a row has R numbers that values follow from. */
export interface LatentForm {
  /** R */
  readonly valueWidth: number
  /** Keys [M, H*D] and values [M, H*E] of all heads, of rows [M, W]. */
  expand(rows: Tensor): { keys: Tensor; values: Tensor }
  /** Queries [N, H*D] as queries on the rows themselves: [N, H*W]. */
  absorb(queries: Tensor): Tensor
  /** Mixtures of rows as mixtures of values: [N, H*R] -> [N, H*E]. */
  release(mixed: Tensor): Tensor
}

/** What is known of earlier tokens in one layer, and takes the new ones. */
export interface KvStore {
  /**
   * `softmax(scale q k^T + bias) v` per head over earlier and new tokens; each key/value head serves H / G query heads.
   *
   * @param queries [N, H*D]
   * @param keys [N, G*D]; rows [N, W] where they are latent
   * @param values [N, G*E]; null where they follow from the rows
   * @returns [N, H*E]
   */
  attend(queries: Tensor, keys: Tensor, values: Tensor | null, options: AttendOptions): Tensor
}

/** Stores of all layers. */
export interface KvCache {
  readonly layers: readonly KvStore[]
  /** Counts new tokens as earlier ones, once every layer has taken them. */
  advance(starts: readonly number[]): void
}

/** What attention keeps of each token, by heads and their width; values that follow from the keys are null. */
export interface CacheShape {
  keys: readonly [heads: number, width: number]
  values: readonly [heads: number, width: number] | null
}

/** What a cache needs to know of its model. */
export interface CachingModel {
  readonly cacheShapes: readonly CacheShape[]
  readonly dtype: Tensor['dtype']
  readonly device: Tensor['device']
}

/** Consecutive tokens: of sequences of equal length several at a time, else of one. */
export interface Rows {
  /** The first of the sequences. */
  sequence: number
  sequences: number
  start: number
  /** T: tokens of each. */
  length: number
}

/** One sequence at a time. */
export function eachSequence(starts: readonly number[]): Rows[] {
  return starts.slice(1).map((end, sequence) => {
    const start = starts[sequence] as number
    return { sequence, sequences: 1, start, length: end - start }
  })
}

/** Sequences to be computed together: all at once where they are equally long. */
export function rowsOf(starts: readonly number[]): Rows[] {
  const each = eachSequence(starts)
  const [{ length } = { length: 0 }] = each
  const isEven = each.every(rows => rows.length === length)
  return isEven ? [{ sequence: 0, sequences: each.length, start: 0, length }] : each
}

/** Those that have any. */
export const withTokens = (rows: readonly Rows[]): Rows[] => rows.filter(({ length }) => length > 0)

/** Some of the rows of [N, heads * D], as heads: [B, heads, T, D]. */
export function headsOf(x: Tensor, { sequences, start, length }: Rows, width: number): Tensor {
  return x
    .narrow(0, start, sequences * length)
    .view([sequences, length, -1, width])
    .transpose(1, 2)
}

/** Back to rows: [B, H, T, E] -> [B * T, H * E]. */
export function rowsOfHeads(heads: Tensor): Tensor {
  return heads.transpose(1, 2).flatten(2).flatten(0, 1)
}
