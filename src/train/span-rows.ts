// Plain text as an encoder-decoder reads it: windows of which spans are to be filled in.
// Shapes: B windows, T tokens.

import type { CorpusSplit, Tokenizer } from '../data/index.ts'
import { ConfigError } from '../errors.ts'
import type { Tensor } from '../torch/index.ts'
import type { TokenPair } from './pairs.ts'
import { corruptSpans, type SpanCorruption, spanCounts } from './span-corruption.ts'
import { TokenWindows } from './token-windows.ts'

/** Windows of one length, each of which is a pair whenever it is read. */
export class SpanRows {
  readonly windows: TokenWindows
  readonly #settings: SpanCorruption
  readonly #marks: { sentinels: number[]; end: number | null }

  /** @throws ConfigError when the tokenizer has too few sentinels for the spans of a window */
  constructor(split: CorpusSplit, sequenceLength: number, tokenizer: Tokenizer, settings: SpanCorruption) {
    this.#settings = settings
    const { spans } = spanCounts(sequenceLength, settings)
    const sentinels = sentinelsOf(tokenizer)
    if (sentinels.length < spans)
      throw new ConfigError(
        `cuts ${spans} spans out of ${sequenceLength} tokens, and the tokenizer has ${sentinels.length} sentinels (<extra_id_0> ...): ` +
          (sentinels.length === 0
            ? 'learn from pairs, as { source, target }'
            : 'shorter sequences need fewer (data.sequenceLength, --sequence-length)'),
        { path: 'objective' },
      )
    this.#marks = { sentinels, end: tokenizer.specialIds.eos ?? null }
    this.windows = new TokenWindows(split, sequenceLength)
  }

  get split(): CorpusSplit {
    return this.windows.split
  }

  get sequenceLength(): number {
    return this.windows.sequenceLength
  }

  get count(): number {
    return this.windows.count
  }

  /** @param draws f64 [B, T, 2]; see corruptSpans() */
  pairs(rows: readonly number[], draws: Tensor): TokenPair[] {
    const ids = this.windows.batch(rows).inputs.tolist() as number[][]
    const drawn = draws.tolist() as number[][][]
    return ids.map((window, b) => corruptSpans(window, drawn[b] ?? [], this.#settings, this.#marks))
  }

  /** The domain of each window: that of its first token. */
  domains(rows: readonly number[]): number[] {
    const all = this.windows.inputDomains(rows)
    return rows.map((_, b) => Number(all[b * this.sequenceLength] ?? 0))
  }

  /** The domain of a row's first token. */
  firstDomain(row: number): number {
    return this.windows.firstDomain(row)
  }

  dispose(): void {
    this.windows.dispose()
  }
}

/** Ids of `<extra_id_0>`, `<extra_id_1>` and on, as far as there are any. */
function sentinelsOf(tokenizer: Tokenizer): number[] {
  const ids = new Map(
    Array.from({ length: tokenizer.vocabSize }, (_, id) => [tokenizer.idToToken(id) ?? '', id]),
  )
  const sentinels: number[] = []
  for (let i = 0; ; i++) {
    const id = ids.get(`<extra_id_${i}>`)
    if (id === undefined) return sentinels
    sentinels.push(id)
  }
}
