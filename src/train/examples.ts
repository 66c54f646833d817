// What a model learns from a stretch of text: a decoder the next token at each position, an encoder the masked ones, an encoder-decoder
// one text from another.
// Shapes: B windows, T positions.

import { type Corpus, loadTokenizer, type SplitName } from '../data/index.ts'
import { invariant } from '../errors.ts'
import {
  type AnyModelConfig,
  EncoderDecoderLM,
  isEncoderDecoder,
  MaskedLM,
  type TrainableModel,
} from '../models/index.ts'
import { rand, stack, type Tensor, tidy } from '../torch/index.ts'
import { ConversationRows } from './conversation-rows.ts'
import type { LongExamples } from './long-examples.ts'
import { drawsPerToken, maskTokens } from './masking.ts'
import { type Batch, batchOf } from './objective.ts'
import { PairRows } from './pair-rows.ts'
import { pairBatch } from './pairs.ts'
import { drawsPerCorruption, type SpanCorruption, spanCorruptionSchema } from './span-corruption.ts'
import { SpanRows } from './span-rows.ts'
import { tasksOfDomains } from './tasks.ts'
import { type TextRows, TokenWindows } from './token-windows.ts'

/**
 * Text to train or evaluate on. One stack reads windows of all of it, or whole conversations of which answers are learnt; an
 * encoder-decoder pairs, or windows of which spans are filled in.
 */
export type ModelText = TokenWindows | ConversationRows | PairRows | SpanRows

export interface TextReading {
  sequenceLength: number
  /** Of the model that reads. */
  config: AnyModelConfig
  /** What becomes of conversations that are longer. Default: they are cut. */
  long?: LongExamples
  /** What an encoder-decoder learns of plain text. Default: as T5. */
  corruption?: SpanCorruption
}

/** A split of a corpus as a model reads it. */
export function modelText(corpus: Corpus, split: SplitName, reading: TextReading): ModelText {
  const { sequenceLength, config, long = 'cut' } = reading
  const { answers } = corpus.manifest
  if (isEncoderDecoder(config)) {
    if (answers) return new PairRows(corpus[split], sequenceLength, long)
    const { corruption = spanCorruptionSchema.parse({ kind: 'span-corruption' }) } = reading
    return new SpanRows(corpus[split], sequenceLength, loadTokenizer(corpus.tokenizerFile), corruption)
  }
  if (answers)
    return new ConversationRows(corpus[split], sequenceLength, { long, together: answers.together })
  return new TokenWindows(corpus[split], sequenceLength, tasksOfDomains(config, corpus.domains))
}

/** A batch to train on. Masks and spans are drawn by the generator whose state checkpoints keep. */
export function trainingBatch(model: TrainableModel, windows: ModelText, rows: readonly number[]): Batch {
  const { device } = model
  if (windows instanceof ConversationRows) return windows.batch(rows, device)
  if (!(windows instanceof TokenWindows)) {
    const draw = (): Tensor =>
      rand([rows.length, windows.sequenceLength, drawsPerCorruption], { dtype: 'f64' })
    return paired(model, windows, rows, draw)
  }
  const draw = ([batch, length]: readonly number[]): Tensor =>
    rand([batch as number, length as number, drawsPerToken], { dtype: 'f64', device })
  return examples(model, windows.batch(rows, device), draw)
}

/** A batch to evaluate on, with the domain of each token: masks and spans of a window are always the same. */
export function evaluationBatch(
  model: TrainableModel,
  windows: ModelText,
  rows: readonly number[],
): Batch & { domains: BigInt64Array; sourceDomains?: BigInt64Array } {
  if (windows instanceof ConversationRows)
    return { ...windows.batch(rows, model.device), domains: windows.domains(rows) }
  const drawn = (numbers: number): Tensor => {
    const shape = [windows.sequenceLength, numbers]
    return stack(rows.map(window => rand(shape, { dtype: 'f64', seed: window })))
  }
  if (!(windows instanceof TokenWindows)) {
    const batch = paired(model, windows, rows, () => drawn(drawsPerCorruption))
    const domains = windows.domains(rows)
    return {
      ...batch,
      domains: perToken(domains, batch.inputs.starts),
      sourceDomains: perToken(domains, batch.source?.starts ?? []),
    }
  }
  const domains = model instanceof MaskedLM ? windows.inputDomains(rows) : windows.targetDomains(rows)
  const draw = (): Tensor => drawn(drawsPerToken).to(model.device)
  return { ...examples(model, windows.batch(rows, model.device), draw), domains }
}

/** @param draw f64 [B, T, 2], for windows of which spans are cut out */
function paired(
  model: TrainableModel,
  windows: PairRows | SpanRows,
  rows: readonly number[],
  draw: () => Tensor,
): Batch {
  invariant(model instanceof EncoderDecoderLM, 'pairs are for encoder-decoders')
  return tidy(() => {
    const pairs = windows instanceof PairRows ? windows.pairs(rows) : windows.pairs(rows, draw())
    return pairBatch(pairs, model.config.decoder_start_token_id, model.device)
  })
}

/** What each sequence is, for each of its tokens. */
function perToken(values: readonly number[], starts: readonly number[]): BigInt64Array {
  return BigInt64Array.from(
    values.flatMap((value, b) =>
      new Array<bigint>((starts[b + 1] ?? 0) - (starts[b] ?? 0)).fill(BigInt(value)),
    ),
  )
}

function examples(
  model: TrainableModel,
  next: TextRows,
  draw: (shape: readonly number[]) => Tensor, // [B, T, 3]
): Batch {
  return tidy(() => {
    if (!(model instanceof MaskedLM)) return batchOf(next)
    const { inputs } = next
    return batchOf({ ...next, ...maskTokens(inputs, model.maskTokenId, draw(inputs.shape)) })
  })
}
