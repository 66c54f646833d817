// Texts being continued together: a model, and what it keeps of the tokens so far.
// Shapes: B texts, V vocabulary.

import { ConfigError } from '../../errors.ts'
import type { KvType } from '../../nn/index.ts'
import { inferenceMode, type Tensor, tidy } from '../../torch/index.ts'
import { EncoderDecoderLM } from '../stack/encoder-decoder.ts'
import type { CausalLM } from '../stack/language-model.ts'

/** A model that writes text: a decoder continues the prompt, an encoder-decoder answers it. */
export type TextModel = CausalLM | EncoderDecoderLM

/** Token ids of each text. */
export type Rows = readonly (readonly number[])[]

/** Scores next tokens. Holds memory until it is disposed of. */
export interface Session extends Disposable {
  /** What next() takes first: of all texts, or of the first one alone. */
  readonly first: Rows
  /** The scores of the token after the last of `fresh`, which follow those of earlier calls: [V] of each of these texts. */
  next(fresh: Rows): Float32Array[]
}

/** A session whose texts can take each other's place. */
export interface BeamSession extends Session {
  /** Text b becomes what text `from[b]` was. */
  reorder(from: readonly number[]): void
}

export interface SessionOptions {
  /** Prompts of at least one id each. */
  prompts: Rows
  /** Texts that the only prompt goes on as, which is read once, as the first: reorder() makes the others. Default: one of each prompt. */
  texts?: number | undefined
  /** What the target of each prompt begins with, as the token of its language, for an encoder-decoder. Default: nothing. */
  beginnings?: Rows | undefined
  /** Most tokens that will follow. */
  newTokens: number
  /** Most tokens of each prompt that a decoder reads at once. Default: what makes `prefillChunk` of all. */
  chunk?: number | undefined
  /** What keys and values are kept in: f16 and q8_0 for models in f32 on a CPU. Default: what the model computes in. */
  kv?: KvType | undefined
  /** Number of the texts' task, for a decoder whose router goes by it. */
  task?: number | undefined
}

/** @throws ConfigError for beginnings of targets where the model has none: a decoder goes on with its prompt */
export function refuseBeginnings(model: TextModel, beginnings: Rows | undefined): void {
  if (beginnings !== undefined && !(model instanceof EncoderDecoderLM))
    throw new ConfigError('are of targets, and a decoder goes on with its prompt: leave them out', {
      path: 'beginnings',
    })
}

/** Logits [B, V] -> [V] of each text. */
export function lastScores(score: () => Tensor): Float32Array[] {
  return inferenceMode(() =>
    tidy(() => {
      const last = score().float()
      const [texts, width] = last.shape as [number, number]
      const all = last.toTypedArray<'f32'>() // from a device in one copy
      return Array.from({ length: texts }, (_, i) => all.subarray(i * width, (i + 1) * width))
    }),
  )
}
