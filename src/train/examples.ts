// What a model learns from a stretch of text: a decoder the next token at each position, an encoder the masked ones.
// Shapes: B windows, T positions.

import type { Corpus, SplitName } from '../data/index.ts'
import { type AnyModelConfig, type LanguageModel, MaskedLM } from '../models/index.ts'
import { rand, stack, type Tensor, tidy } from '../torch/index.ts'
import { ConversationRows, type LongExamples } from './conversation-rows.ts'
import { drawsPerToken, maskTokens } from './masking.ts'
import { type Batch, batchOf } from './objective.ts'
import { tasksOfDomains } from './tasks.ts'
import { type TextRows, TokenWindows } from './token-windows.ts'

/** Text to train or evaluate on: windows of all of it, or whole conversations of which answers are learnt. */
export type ModelText = TokenWindows | ConversationRows

export interface TextReading {
  sequenceLength: number
  /** Of the model that reads. */
  config: AnyModelConfig
  /** What becomes of conversations that are longer. Default: they are cut. */
  long?: LongExamples
}

/** A split of a corpus as a model reads it. */
export function modelText(
  corpus: Corpus,
  split: SplitName,
  { sequenceLength, config, long = 'cut' }: TextReading,
): ModelText {
  const { answers } = corpus.manifest
  if (answers)
    return new ConversationRows(corpus[split], sequenceLength, { long, together: answers.together })
  return new TokenWindows(corpus[split], sequenceLength, tasksOfDomains(config, corpus.domains))
}

/** A batch to train on. Masks are drawn by the generator whose state checkpoints keep. */
export function trainingBatch(model: LanguageModel, windows: ModelText, rows: readonly number[]): Batch {
  const { device } = model
  if (windows instanceof ConversationRows) return windows.batch(rows, device)
  const draw = ([batch, length]: readonly number[]): Tensor =>
    rand([batch as number, length as number, drawsPerToken], { dtype: 'f64', device })
  return examples(model, windows.batch(rows, device), draw)
}

/** A batch to evaluate on: the masks of a window are always the same. */
export function evaluationBatch(
  model: LanguageModel,
  windows: ModelText,
  rows: readonly number[],
): Batch & { domains: BigInt64Array } {
  if (windows instanceof ConversationRows)
    return { ...windows.batch(rows, model.device), domains: windows.domains(rows) }
  const shape = [windows.sequenceLength, drawsPerToken]
  const draw = (): Tensor =>
    stack(rows.map(window => rand(shape, { dtype: 'f64', seed: window }))).to(model.device)
  const domains = model instanceof MaskedLM ? windows.inputDomains(rows) : windows.targetDomains(rows)
  return { ...examples(model, windows.batch(rows, model.device), draw), domains }
}

function examples(
  model: LanguageModel,
  next: TextRows,
  draw: (shape: readonly number[]) => Tensor, // [B, T, 3]
): Batch {
  return tidy(() => {
    if (!(model instanceof MaskedLM)) return batchOf(next)
    const { inputs } = next
    return batchOf({ ...next, ...maskTokens(inputs, model.maskTokenId, draw(inputs.shape)) })
  })
}
