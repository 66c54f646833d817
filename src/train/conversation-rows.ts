// A split of conversations as batches: whole examples packed into rows, none of which sees another; pairs stay together.
// Shapes: N tokens of the examples of a batch.

import type { CorpusSplit } from '../data/index.ts'
import { ConfigError } from '../errors.ts'
import { arange, cat, type Device, type Tensor, tidy } from '../torch/index.ts'
import { type AnswerShard, answerShards, disposeShards } from './answer-shards.ts'
import { type LongExamples, refuseLong } from './long-examples.ts'
import type { Batch } from './objective.ts'

/** Where an example lies: its tokens but for the last are inputs, all but the first are targets. */
interface Example {
  /** Its place in the split. */
  number: number
  shard: number
  offset: number
  /** Inputs. */
  length: number
  domain: number
}

/** Rows that are open for more examples at a time: with more, rows are fuller and examples further from where they were. */
const openRows = 64

export class ConversationRows {
  readonly split: CorpusSplit
  readonly sequenceLength: number
  /** Examples that were cut, and those that were left out, for their length. */
  readonly cut: number = 0
  readonly dropped: number = 0
  /** Examples that belong together: 2 of pairs. */
  readonly together: 1 | 2
  readonly #rows: Example[][]
  readonly #shards: AnswerShard[]

  /**
   * @param sequenceLength inputs of an example, and of a row, at most; a row of pairs has room for two such examples
   * @throws ConfigError for a split without an example that fits, or where long ones are refused
   */
  constructor(
    split: CorpusSplit,
    sequenceLength: number,
    { long, together }: { long: LongExamples; together: 1 | 2 },
  ) {
    this.split = split
    this.together = together
    this.sequenceLength = sequenceLength
    const all = split.shards.flatMap(({ documentStarts, documentDomains, tokens }, shard) =>
      documentStarts.map((offset, i) => {
        const length = (documentStarts[i + 1] ?? tokens) - offset - 1
        return { number: 0, shard, offset, length, domain: documentDomains[i] ?? 0 }
      }),
    )
    for (const [number, example] of all.entries()) example.number = number
    const tooLong = all.filter(({ length }) => length > sequenceLength)
    if (long === 'refuse') {
      const lengths = tooLong.map(({ length }) => length)
      refuseLong('examples are', lengths, { all: all.length, sequenceLength })
    }
    if (long === 'cut') this.cut = tooLong.length
    else this.dropped = tooLong.length
    const units = Array.from({ length: all.length / together }, (_, i) =>
      all.slice(i * together, (i + 1) * together),
    )
    const fitting = units
      .filter(unit => long === 'cut' || unit.every(({ length }) => length <= sequenceLength))
      .map(unit => unit.map(example => ({ ...example, length: Math.min(example.length, sequenceLength) })))
    this.#rows = packed(
      fitting.filter(unit => unit.every(({ length }) => length > 0)),
      together * sequenceLength,
    )
    if (this.#rows.length === 0) {
      throw new ConfigError(`leaves no example of the ${split.name} split: set it higher`, {
        path: 'data.sequenceLength',
      })
    }
    this.#shards = answerShards(split)
  }

  /** Number of rows. */
  get count(): number {
    return this.#rows.length
  }

  /** The examples of some rows, with a target at each token that is to be learnt. */
  batch(rows: readonly number[], device: Device = 'cpu'): Batch {
    return tidy(() => {
      const examples = this.#examplesOf(rows)
      const part = (of: keyof AnswerShard, { shard, offset, length }: Example, shift: number): Tensor =>
        (this.#shards[shard] as AnswerShard)[of].narrow(0, offset + shift, length)
      const all = (of: keyof AnswerShard, shift: number): Tensor =>
        cat(examples.map(example => part(of, example, shift))).to(device) // [N]
      const targets = all('ids', 1).long()
      const taught = all('taught', 1).eq(1)
      const starts = [0]
      for (const { length } of examples) starts.push((starts.at(-1) ?? 0) + length)
      return {
        inputs: {
          ids: all('ids', 0).long(),
          starts,
          positions: cat(examples.map(({ length }) => arange(0, length))).to(device),
          extent: Math.max(...examples.map(({ length }) => length)),
        },
        targets: targets.maskedFill(taught.eq(0), -100),
        scored: this.together === 2 ? examples.length / 2 : taught.sum().item(),
        ...(this.together === 2 && {
          pairs: examples.flatMap(({ number }) => (number % 2 === 0 ? number / 2 : [])),
        }),
      }
    })
  }

  /** Pairs of the split, those that are left out among them. */
  get pairs(): number {
    return this.split.shards.reduce((sum, { documentStarts }) => sum + documentStarts.length, 0) / 2
  }

  /** The domain of a row's first example. */
  firstDomain(row: number): number {
    return this.#rows[row]?.[0]?.domain ?? 0
  }

  /** The domain of each target of batch(): [N]. */
  domains(rows: readonly number[]): BigInt64Array {
    const examples = this.#examplesOf(rows)
    return BigInt64Array.from(
      examples.flatMap(({ length, domain }) => new Array(length).fill(BigInt(domain))),
    )
  }

  #examplesOf(rows: readonly number[]): Example[] {
    return rows.flatMap(row => this.#rows[row] ?? [])
  }

  dispose(): void {
    disposeShards(this.#shards)
  }
}

/** First fit: what belongs together into the first open row that has room; when too many are open, the oldest is done. */
function packed(units: readonly (readonly Example[])[], room: number): Example[][] {
  const done: Example[][] = []
  const open: { examples: Example[]; left: number }[] = []
  for (const unit of units) {
    const size = unit.reduce((sum, { length }) => sum + length, 0)
    const fits = open.find(({ left }) => left >= size)
    if (fits) {
      fits.examples.push(...unit)
      fits.left -= size
      continue
    }
    if (open.length === openRows) done.push(open.shift()?.examples ?? [])
    open.push({ examples: [...unit], left: room - size })
  }
  return [...done, ...open.map(row => row.examples)]
}
