// Token by token: prefill once, then one position per step.

import { ConfigError } from '../../errors.ts'
import { uniformSource } from './random.ts'
import { checkSampling, type SamplingOptions, sampleToken } from './sampling.ts'
import { Session, type TextModel } from './session.ts'

export interface GenerateOptions extends SamplingOptions {
  /** Default 128, or what is left of the model's positions. */
  maxNewTokens?: number
  /** Ids that end the text; they are not given out. Default: the config's eos_token_id. */
  stopIds?: readonly number[]
  /** Default 0. */
  seed?: number
  /** Number of the text's task, for a decoder whose router goes by it. */
  task?: number
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
  model: TextModel,
  prompt: readonly number[],
  options: GenerateOptions = {},
): AsyncGenerator<number, StopReason> {
  const sampling = checkSampling(options)
  const limit = newTokenLimit(model, prompt, options.maxNewTokens)
  const stops = new Set(options.stopIds ?? [model.config.eos_token_id].flat())
  const uniform = uniformSource(options.seed ?? 0)
  const history = [...prompt]
  using session = Session.start(model, prompt, limit, options.task)
  for (let fresh = session.first; history.length < prompt.length + limit; ) {
    const id = sampleToken(session.next(fresh), history, sampling, uniform)
    if (stops.has(id)) return 'end-of-text'
    history.push(id)
    fresh = [id]
    yield id
    await new Promise(setImmediate)
    if (options.signal?.aborted) return 'aborted'
  }
  return limit < (options.maxNewTokens ?? limit) ? 'positions' : 'max-new-tokens'
}

function newTokenLimit(model: TextModel, prompt: readonly number[], wanted = 128): number {
  const { vocab_size } = model.config
  if (prompt.length === 0) throw new ConfigError('is empty: give at least one token', { path: 'prompt' })
  const outside = prompt.find(id => !(Number.isInteger(id) && id >= 0 && id < vocab_size))
  if (outside !== undefined) {
    throw new ConfigError(`id ${outside} is outside of the model's vocabulary of ${vocab_size}`, {
      path: 'prompt',
    })
  }
  // Positions of an encoder-decoder are counted on without end.
  const positions = 'max_position_embeddings' in model.config ? model.config.max_position_embeddings : null
  if (positions === null) return wanted
  if (prompt.length >= positions) {
    throw new ConfigError(
      `has ${prompt.length} tokens; the model's ${positions} positions leave no room to continue`,
      { path: 'prompt' },
    )
  }
  return Math.min(wanted, positions - prompt.length)
}
