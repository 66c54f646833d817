// Decoding by steps of fixed shapes, which a CUDA graph can replay without the host's work for each operator.
// Shapes: B texts, V vocabulary.

import { StaticCache } from '../../nn/index.ts'
import {
  NotReplayable,
  type Replay,
  replayable,
  type Tensor,
  tensor,
  warmups,
  zeros,
} from '../../torch/index.ts'
import type { CausalLM } from '../stack/language-model.ts'
import { decoderSession } from './decoder-session.ts'
import { lastScores, type Rows, type Session, type SessionOptions } from './session.ts'

/** As decoderSession(), whose cache takes the prompts; every token after them is one replay. */
export function staticSession(model: CausalLM, options: SessionOptions): Session {
  const { prompts, newTokens } = options
  const prefill = decoderSession(model, { ...options, newTokens: 0 })
  const cache = new StaticCache(model, {
    sequences: prompts.length,
    capacity: prefill.cache.capacity + newTokens + warmups,
  })
  const ids = zeros([prompts.length], { dtype: 'i64', device: model.device }).persist()
  const starts = Array.from({ length: prompts.length + 1 }, (_, b) => b)
  let isPrefilled = false
  let step: Replay<Tensor> | null = null

  const first = (fresh: Rows): Float32Array[] => {
    const scores = prefill.next(fresh)
    cache.fill(prefill.cache)
    prefill[Symbol.dispose]()
    isPrefilled = true
    return scores
  }
  const body = (): Tensor =>
    cache.step(() => model.forward({ ids, starts, positions: cache.positions, extent: 0 }, { cache }).logits)
  const captured = (): Replay<Tensor> => {
    const before = cache.lengths.clone()
    try {
      return replayable(body, model.device)
    } catch (error) {
      if (!(error instanceof NotReplayable)) throw error
      return { run: body, [Symbol.dispose]: () => undefined } // some routers and experts wait for the device
    } finally {
      cache.lengths.copy_(before) // what was tried out lies beyond the texts' ends
    }
  }
  const next = (fresh: Rows): Float32Array[] => {
    if (!isPrefilled) return first(fresh)
    return lastScores(() => {
      ids.copy_(tensor(Int32Array.from(fresh, ([id = 0]) => id)))
      step ??= captured()
      return step.run()
    })
  }
  const dispose = (): void => {
    for (const part of [prefill, cache, step]) part?.[Symbol.dispose]()
    ids.dispose()
  }
  return { first: prefill.first, next, [Symbol.dispose]: dispose }
}
