// A text being continued: a model, and what it keeps of the tokens so far.
// Shapes: T new tokens, V vocabulary.

import { inferenceMode, type Tensor, tensor, tidy, zerosLike } from '../../torch/index.ts'
import type { CausalLM } from '../decoder.ts'
import { EncoderDecoderLM } from '../encoder-decoder.ts'
import { PreallocatedCache } from './cache.ts'

/** A model that writes text: a decoder continues the prompt, an encoder-decoder answers it. */
export type TextModel = CausalLM | EncoderDecoderLM

/** Scores next tokens of one text. Holds memory until it is disposed of. */
export class Session {
  /** What next() takes first. */
  readonly first: readonly number[]
  readonly #score: (ids: readonly number[]) => Tensor
  readonly #held: readonly { dispose(): void }[]

  private constructor(
    first: readonly number[],
    score: (ids: readonly number[]) => Tensor,
    held: readonly { dispose(): void }[],
  ) {
    this.first = first
    this.#score = score
    this.#held = held
  }

  /**
   * @param prompt at least one id
   * @param newTokens most tokens that will follow
   * @param task of the text, for a decoder whose router goes by it
   */
  static start(model: TextModel, prompt: readonly number[], newTokens: number, task?: number): Session {
    if (!(model instanceof EncoderDecoderLM)) {
      const cache = new PreallocatedCache(model, { capacity: prompt.length + newTokens })
      const score = (ids: readonly number[]): Tensor => {
        const row = rowOf(ids, model)
        const tasks = task === undefined ? null : zerosLike(row).add(task)
        return model.forward(row, { cache, tasks }).logits
      }
      return new Session(prompt, score, [cache])
    }
    const source = inferenceMode(() =>
      tidy(() => {
        const { keysValues, blocked } = model.encode(rowOf(prompt, model))
        return { keysValues, blocked, routings: [] }
      }),
    )
    const held = source.keysValues.flatMap(({ keys, values }) => [keys.persist(), values.persist()])
    const cache = new PreallocatedCache(model, { capacity: newTokens + 1 })
    const score = (ids: readonly number[]): Tensor =>
      model.decode(rowOf(ids, model), source, { cache }).logits
    return new Session([model.config.decoder_start_token_id], score, [cache, ...held])
  }

  /** The scores of the token after the last of `fresh`, which follow those of earlier calls: [V]. */
  next(fresh: readonly number[]): Float32Array {
    return inferenceMode(() =>
      tidy(() => this.#score(fresh).select(0, 0).select(0, -1).float().toTypedArray<'f32'>()),
    )
  }

  dispose(): void {
    for (const part of this.#held) part.dispose()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** i64 [1, T] */
function rowOf(ids: readonly number[], model: TextModel): Tensor {
  return tensor([ids.map(BigInt)]).to(model.device)
}
