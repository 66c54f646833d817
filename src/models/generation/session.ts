// Texts being continued together: a model, and what it keeps of the tokens so far.
// Shapes: B texts, T new tokens, V vocabulary.

import { type Device, inferenceMode, type Tensor, tensor, tidy, zerosLike } from '../../torch/index.ts'
import type { CausalLM } from '../decoder.ts'
import type { EncoderDecoderLM } from '../encoder-decoder.ts'
import { PreallocatedCache } from './cache.ts'

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

/** Prompts of unequal length are padded on the left, and what pads them is seen by nobody. */
export function decoderSession(
  model: CausalLM,
  { prompts, newTokens, task }: SessionOptions,
): Session & { cache: PreallocatedCache } {
  const longest = Math.max(...prompts.map(prompt => prompt.length))
  const cache = new PreallocatedCache(model, {
    batchSize: prompts.length,
    capacity: longest + newTokens,
  })
  const missing = prompts.map(prompt => longest - prompt.length)
  const isPadded = missing.some(count => count > 0)
  let positions = 0
  const score = (fresh: Rows): Tensor => {
    const ids = matrix(fresh, model.device)
    positions += ids.size(1)
    const mask = isPadded ? realPositions(missing, positions, model.device) : null
    const tasks = task === undefined ? null : zerosLike(ids).add(task)
    return model.forward(ids, { cache, mask, tasks }).logits
  }
  const first = prompts.map((prompt, row) => [...new Array<number>(missing[row] ?? 0).fill(0), ...prompt])
  const next = (fresh: Rows): Float32Array[] => lastScores(() => score(fresh))
  return { first, next, cache, [Symbol.dispose]: () => cache.dispose() }
}

/** Sources of unequal length are padded on the right; every target begins with the start token. */
export function encoderDecoderSession(
  model: EncoderDecoderLM,
  { prompts, newTokens }: SessionOptions,
): Session {
  const source = inferenceMode(() =>
    tidy(() => {
      const longest = Math.max(...prompts.map(prompt => prompt.length))
      const padding = (prompt: readonly number[]): number[] =>
        new Array<number>(longest - prompt.length).fill(model.config.pad_token_id)
      const ids = matrix(
        prompts.map(prompt => [...prompt, ...padding(prompt)]),
        model.device,
      )
      const isPadded = prompts.some(prompt => prompt.length < longest)
      const mask = tensor(prompts.map(prompt => Array.from({ length: longest }, (_, i) => i < prompt.length)))
      const { keysValues, blocked } = model.encode(ids, isPadded ? mask.to(model.device) : null)
      return { keysValues, blocked, routings: [] }
    }),
  )
  const held = [
    ...source.keysValues.flatMap(({ keys, values }) => [keys, values]),
    ...(source.blocked ? [source.blocked] : []),
  ].map(tensor => tensor.persist())
  const cache = new PreallocatedCache(model, { batchSize: prompts.length, capacity: newTokens + 1 })
  return {
    first: prompts.map(() => [model.config.decoder_start_token_id]),
    next: fresh => lastScores(() => model.decode(matrix(fresh, model.device), source, { cache }).logits),
    [Symbol.dispose]: () => {
      for (const part of [cache, ...held]) part.dispose()
    },
  }
}

/** Logits [B, T, V] -> [V] of each text's last position. */
export function lastScores(score: () => Tensor): Float32Array[] {
  return inferenceMode(() =>
    tidy(() => {
      const last = score().select(1, -1).float() // [B, V]
      const [texts, width] = last.shape as [number, number]
      const all = last.toTypedArray<'f32'>() // from a device in one copy
      return Array.from({ length: texts }, (_, i) => all.subarray(i * width, (i + 1) * width))
    }),
  )
}

/** i64 [B, T] */
const matrix = (rows: Rows, device: Device): Tensor => tensor(rows.map(ids => ids.map(BigInt))).to(device)

/** bool [B, S]: false for the first `missing` positions of each text. */
function realPositions(missing: readonly number[], positions: number, device: Device): Tensor {
  return tensor(missing.map(count => Array.from({ length: positions }, (_, i) => i >= count))).to(device)
}
