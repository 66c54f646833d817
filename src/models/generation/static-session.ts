// Decoding by steps of fixed shapes, which a CUDA graph can replay without the host's work for each operator.
// Shapes: B texts, V vocabulary.

import { Attention } from '../../nn/index.ts'
import {
  NotReplayable,
  type Replay,
  replayable,
  type Tensor,
  tensor,
  warmups,
  zeros,
} from '../../torch/index.ts'
import type { CausalLM } from '../decoder.ts'
import { decoderSession, lastScores, type Rows, type Session, type SessionOptions } from './session.ts'
import { StaticCache } from './static-cache.ts'

/** Whether a model can decode so: grouped-query attention without sinks, and angles that depend on the position alone. */
export function decodesStatically({ model }: CausalLM): boolean {
  const isPlain = (attention: unknown): boolean => attention instanceof Attention && !attention.sinks
  return model.inv_freq !== null && model.layers.every(layer => isPlain(layer.self_attn))
}

/** As decoderSession(), whose cache takes the prompts; every token after them is one replay. */
export function staticSession(model: CausalLM, options: SessionOptions): Session {
  const { prompts, newTokens } = options
  const lengths = prompts.map(prompt => prompt.length)
  const prefill = decoderSession(model, { ...options, newTokens: 0 })
  const cache = new StaticCache(model, {
    batchSize: prompts.length,
    capacity: Math.max(...lengths) + newTokens + warmups,
  })
  const ids = zeros([prompts.length, 1], { dtype: 'i64', device: model.device }).persist()
  let isPrefilled = false
  let step: Replay<Tensor> | null = null

  const first = (fresh: Rows): Float32Array[] => {
    const scores = prefill.next(fresh)
    cache.fill(prefill.cache, lengths)
    prefill[Symbol.dispose]()
    isPrefilled = true
    return scores
  }
  const body = (): Tensor =>
    cache.step(() => model.forward(ids, { cache, positions: cache.positions }).logits)
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
      ids.copy_(tensor(fresh.map(([id = 0]) => [BigInt(id)])))
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
