// A split of pairs as an encoder-decoder reads it: each example a source and a target.

import type { CorpusSplit } from '../data/index.ts'
import { ConfigError } from '../errors.ts'
import { mapFile, type Tensor } from '../torch/index.ts'
import type { LongExamples } from './conversation-rows.ts'
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
  readonly #shards: { ids: Tensor; taught: Tensor }[] // [tokens] each

  /**
   * @param sequenceLength tokens of a source, and of a target, at most
   * @throws ConfigError for examples without a source, for a split without a pair that fits, or where long ones are refused
   */
  constructor(split: CorpusSplit, sequenceLength: number, long: LongExamples) {
    this.split = split
    this.sequenceLength = sequenceLength
    this.#shards = split.shards.map(({ file, tokens, tokenRange, taughtRange }) => {
      using map = mapFile(file)
      return {
        ids: map.tensor(tokenRange.offset, [tokens], tokenRange.dtype === 'I16' ? 'i16' : 'i32').persist(),
        taught: map.tensor(taughtRange?.offset ?? 0, [tokens], 'u8').persist(),
      }
    })
    const all = split.shards.flatMap((_, shard) => this.#placesOf(shard))
    const without = all.filter(({ source }) => source === 0).length
    if (without > 0)
      throw new ConfigError(
        `${without} of ${all.length} examples have nothing to read before what is to be learnt: an encoder-decoder learns ` +
          'pairs, as { source, target }',
        { path: 'data.path' },
      )
    const isLong = ({ source, target }: Place): boolean => Math.max(source, target) > sequenceLength
    const tooLong = all.filter(isLong)
    if (long === 'refuse' && tooLong.length > 0) refuseLong(tooLong, all, sequenceLength)
    if (long === 'cut') this.cut = tooLong.length
    else this.dropped = tooLong.length
    this.#places = long === 'cut' ? all : all.filter(place => !isLong(place))
    if (this.#places.length === 0)
      throw new ConfigError(`leaves no pair of the ${split.name} split: set it higher`, {
        path: 'data.sequenceLength',
      })
  }

  #placesOf(shard: number): Place[] {
    const { documentStarts, documentDomains, tokens } = this.split.shards[
      shard
    ] as CorpusSplit['shards'][number]
    const taught = this.#shards[shard]?.taught.toTypedArray() as Uint8Array
    return documentStarts.map((offset, i) => {
      const end = documentStarts[i + 1] ?? tokens
      const first = taught.indexOf(1, offset)
      const source = (first < 0 || first > end ? end : first) - offset
      return { shard, offset, source, target: end - offset - source, domain: documentDomains[i] ?? 0 }
    })
  }

  /** Number of pairs. */
  get count(): number {
    return this.#places.length
  }

  /** Pairs, cut to length. */
  pairs(rows: readonly number[]): TokenPair[] {
    return this.#placesAt(rows).map(({ shard, offset, source, target }) => {
      const { ids, taught } = this.#shards[shard] as { ids: Tensor; taught: Tensor }
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
    for (const { ids, taught } of this.#shards) {
      ids.dispose()
      taught.dispose()
    }
  }
}

function refuseLong(tooLong: readonly Place[], all: readonly Place[], sequenceLength: number): never {
  const longest = Math.max(...tooLong.map(({ source, target }) => Math.max(source, target)))
  throw new ConfigError(
    `${tooLong.length} of ${all.length} pairs have a side longer than data.sequenceLength, ${sequenceLength} (the longest ${longest}): ` +
      'set that higher, or this to cut or drop',
    { path: 'data.long' },
  )
}
