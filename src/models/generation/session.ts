// Texts being continued together: a model, and what it keeps of the tokens so far.
// Shapes: B texts, V vocabulary.

import { ContiguousCache } from '../../nn/index.ts'
import { hasKernel, inferenceMode, type Tensor, tidy } from '../../torch/index.ts'
import { EncoderDecoderLM } from '../stack/encoder-decoder.ts'
import type { CausalLM } from '../stack/language-model.ts'
import { tokensOfSequences } from '../stack/tokens.ts'
import { staticSession } from './static-session.ts'

/** A model that writes text: a decoder continues the prompt, an encoder-decoder answers it. */
export type TextModel = CausalLM | EncoderDecoderLM

/** Token ids of each text. */
export type Rows = readonly (readonly number[])[]

/** Scores next tokens. Holds memory until it is disposed of. */
export interface Session extends Disposable {
  /** What next() takes first. */
  readonly first: Rows
  /** The scores of the token after the last of `fresh`, which follow those of earlier calls: [V] of each text. */
  next(fresh: Rows): Float32Array[]
}

export interface SessionOptions {
  /** Prompts of at least one id each. */
  prompts: Rows
  /** Most tokens that will follow. */
  newTokens: number
  /** Number of the texts' task, for a decoder whose router goes by it. */
  task?: number | undefined
}

/** The session that a model and what is asked of it want. */
export function startSession(model: TextModel, options: SessionOptions): Session {
  if (model instanceof EncoderDecoderLM) return encoderDecoderSession(model, options)
  // To make a graph takes about as long as some steps.
  const isWorthIt = model.device !== 'cpu' && options.newTokens > 8 && options.task === undefined
  const hasKernels = hasKernel('attention', model.model.norm.weight)
  return isWorthIt && hasKernels && model.decodesStatically
    ? staticSession(model, options)
    : decoderSession(model, options)
}

const longestOf = (rows: Rows): number => rows.reduce((most, { length }) => Math.max(most, length), 0)

/** Prompts of unequal length stand one after the other: nothing is padded. */
export function decoderSession(
  model: CausalLM,
  { prompts, newTokens, task }: SessionOptions,
): Session & { cache: ContiguousCache } {
  const capacity = longestOf(prompts) + newTokens
  const cache = new ContiguousCache(model, { sequences: prompts.length, capacity })
  const next = (fresh: Rows): Float32Array[] =>
    lastScores(() => {
      const tokens = tokensOfSequences(fresh, { past: cache.lengths, device: model.device, task })
      return model.forward(tokens, { cache, logitsAt: 'last' }).logits
    })
  return { first: prompts, next, cache, [Symbol.dispose]: () => cache.dispose() }
}

/** Every target begins with the start token. */
export function encoderDecoderSession(
  model: EncoderDecoderLM,
  { prompts, newTokens }: SessionOptions,
): Session {
  const { device } = model
  const source = inferenceMode(() => {
    const encoded = tidy(() => {
      const { stores, routings: _, ...rest } = model.encode(tokensOfSequences(prompts, { device }))
      for (const { keys, values } of stores) for (const held of [keys, values]) held.persist()
      return { stores, routings: [], ...rest }
    })
    return encoded
  })
  const cache = new ContiguousCache(model, { sequences: prompts.length, capacity: newTokens + 1 })
  const next = (fresh: Rows): Float32Array[] =>
    lastScores(() => {
      const tokens = tokensOfSequences(fresh, { past: cache.lengths, device })
      return model.decode(tokens, source, { cache, logitsAt: 'last' }).logits
    })
  const dispose = (): void => {
    cache.dispose()
    source[Symbol.dispose]()
  }
  return { first: prompts.map(() => [model.config.decoder_start_token_id]), next, [Symbol.dispose]: dispose }
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
