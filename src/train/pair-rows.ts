// A split of pairs as an encoder-decoder reads it: each example a source and a target.

import type { CorpusSplit } from '../data/index.ts'
import { ConfigError } from '../errors.ts'
import type { Tensor } from '../torch/index.ts'
import { type AnswerShard, answerShards, disposeShards } from './answer-shards.ts'
import { type LongExamples, refuseLong } from './long-examples.ts'
import type { TokenPair } from './pairs.ts'

/** Where a pair lies: a document's tokens before the first that is to be learnt, and the rest. */
interface Place {
  shard: number
  offset: number
  source: number
  target: number
  domain: number
}

/** Rows of one pair each. */
export class PairRows {
  readonly split: CorpusSplit
  readonly sequenceLength: number
  /** Pairs that were cut, and those that were left out, for their length. */
  readonly cut: number = 0
  readonly dropped: number = 0
  readonly #places: Place[]
  readonly #shards: AnswerShard[]

  /**
   * @param sequenceLength tokens of a source, and of a target, at most
   * @throws ConfigError for examples without a source, for a split without a pair that fits, or where long ones are refused
   */
  constructor(split: CorpusSplit, sequenceLength: number, long: LongExamples) {
    this.split = split
    this.sequenceLength = sequenceLength
    const all = placesOf(split)
    const without = all.filter(({ source }) => source === 0).length
    if (without > 0)
      throw new ConfigError(
        `${without} of ${all.length} examples have nothing to read before what is to be learnt: an encoder-decoder learns ` +
          'pairs, as { source, target }',
        { path: 'data.path' },
      )
    const isLong = (place: Place): boolean => lengthOf(place) > sequenceLength
    const tooLong = all.filter(isLong)
    if (long === 'refuse')
      refuseLong('pairs have a side', tooLong.map(lengthOf), { all: all.length, sequenceLength })
    if (long === 'cut') this.cut = tooLong.length
    else this.dropped = tooLong.length
    this.#places = long === 'cut' ? all : all.filter(place => !isLong(place))
    if (this.#places.length === 0)
      throw new ConfigError(`leaves no pair of the ${split.name} split: set it higher`, {
        path: 'data.sequenceLength',
      })
    this.#shards = answerShards(split)
  }

  /** Number of pairs. */
  get count(): number {
    return this.#places.length
  }

  /** Pairs, cut to length. */
  pairs(rows: readonly number[]): TokenPair[] {
    return this.#placesAt(rows).map(({ shard, offset, source, target }) => {
      const { ids, taught } = this.#shards[shard] as AnswerShard
      const part = (of: Tensor, at: number, length: number): number[] => {
        const kept = Math.min(length, this.sequenceLength)
        return of.narrow(0, at, kept).tolist() as number[]
      }
      return {
        source: part(ids, offset, source),
        target: part(ids, offset + source, target),
        taught: part(taught, offset + source, target).map(mark => mark === 1),
      }
    })
  }

  /** The domain of each pair. */
  domains(rows: readonly number[]): number[] {
    return this.#placesAt(rows).map(({ domain }) => domain)
  }

  /** The domain of a row. */
  firstDomain(row: number): number {
    return this.#places[row]?.domain ?? 0
  }

  #placesAt(rows: readonly number[]): Place[] {
    return rows.flatMap(row => this.#places[row] ?? [])
  }

  dispose(): void {
    disposeShards(this.#shards)
  }
}

/** Tokens of its longer side. */
const lengthOf = ({ source, target }: Place): number => Math.max(source, target)

function placesOf(split: CorpusSplit): Place[] {
  const shards = answerShards(split)
  const marks = shards.map(({ taught }) => taught.toTypedArray() as Uint8Array)
  disposeShards(shards)
  return split.shards.flatMap(({ documentStarts, documentDomains, tokens }, shard) =>
    documentStarts.map((offset, i) => {
      const end = documentStarts[i + 1] ?? tokens
      const first = marks[shard]?.indexOf(1, offset) ?? -1
      const source = (first < 0 || first > end ? end : first) - offset
      return { shard, offset, source, target: end - offset - source, domain: documentDomains[i] ?? 0 }
    }),
  )
}
