// Token by token: prefill once, then one position per step.

import { ConfigError } from '../../errors.ts'
import { inferenceMode, tensor, tidy } from '../../torch/index.ts'
import type { CausalLM } from '../decoder.ts'
import { PreallocatedCache } from './cache.ts'
import { uniformSource } from './random.ts'
import { checkSampling, type SamplingOptions, sampleToken } from './sampling.ts'

export interface GenerateOptions extends SamplingOptions {
  /** Default 128, or what is left of the model's positions. */
  maxNewTokens?: number
  /** Ids that end the text; they are not given out. Default: the config's eos_token_id. */
  stopIds?: readonly number[]
  /** Default 0. */
  seed?: number
  /** Ends the generation between two tokens. */
  signal?: AbortSignal
}

/** Why a text ended; `positions`: the model has no more of them, though more tokens were wanted. */
export type StopReason = 'end-of-text' | 'stop-text' | 'max-new-tokens' | 'positions' | 'aborted'

/**
 * Continues a prompt, one id at a time; returns why it ended. The event loop turns between tokens.
 *
 * @param prompt at least one id
 * @example for await (const id of generate(model, ids, { temperature: 0.8 })) process.stdout.write(decoder.push(id))
 */
export async function* generate(
  model: CausalLM,
  prompt: readonly number[],
  options: GenerateOptions = {},
): AsyncGenerator<number, StopReason> {
  const sampling = checkSampling(options)
  const limit = newTokenLimit(model, prompt, options.maxNewTokens)
  const stops = new Set(options.stopIds ?? [model.config.eos_token_id].flat())
  const uniform = uniformSource(options.seed ?? 0)
  const history = [...prompt]
  using cache = new PreallocatedCache(model, { capacity: prompt.length + limit })
  for (let fresh: readonly number[] = prompt; history.length < prompt.length + limit; ) {
    const logits = nextLogits(model, fresh, cache)
    const id = sampleToken(logits, history, sampling, uniform)
    if (stops.has(id)) return 'end-of-text'
    history.push(id)
    fresh = [id]
    yield id
    await new Promise(setImmediate)
    if (options.signal?.aborted) return 'aborted'
  }
  return limit < (options.maxNewTokens ?? limit) ? 'positions' : 'max-new-tokens'
}

/** The scores of the token after the last of `fresh`, which follow the cached ones. */
function nextLogits(model: CausalLM, fresh: readonly number[], cache: PreallocatedCache): Float32Array {
  return inferenceMode(() =>
    tidy(() => {
      const ids = tensor([fresh.map(BigInt)]).to(model.model.norm.weight.device) // [1, T]
      const { logits } = model.forward(ids, { cache })
      return logits.select(0, 0).select(0, -1).float().toTypedArray<'f32'>()
    }),
  )
}

function newTokenLimit(model: CausalLM, prompt: readonly number[], wanted = 128): number {
  const { vocab_size, max_position_embeddings } = model.config
  if (prompt.length === 0) throw new ConfigError('is empty: give at least one token', { path: 'prompt' })
  const outside = prompt.find(id => !(Number.isInteger(id) && id >= 0 && id < vocab_size))
  if (outside !== undefined) {
    throw new ConfigError(`id ${outside} is outside of the model's vocabulary of ${vocab_size}`, {
      path: 'prompt',
    })
  }
  if (prompt.length >= max_position_embeddings) {
    throw new ConfigError(
      `has ${prompt.length} tokens; the model's ${max_position_embeddings} positions leave no room to continue`,
      { path: 'prompt' },
    )
  }
  return Math.min(wanted, max_position_embeddings - prompt.length)
}
