// One text as it grows: which token comes next, and when it has ended.
// Shapes: V vocabulary.

import { ConfigError } from '../../errors.ts'
import { type TokenProbabilities, tokenProbabilities } from './probabilities.ts'
import { uniformSource } from './random.ts'
import { checkSampling, type SamplingOptions, sampleToken, type TextSoFar } from './sampling.ts'
import type { TextModel } from './session.ts'
import { maskLogits, type TokenConstraint } from './token-constraint.ts'

export interface GrowthOptions extends SamplingOptions {
  /** Default 128, or what is left of the model's positions. 0: the prompt is read, and nothing written. */
  maxNewTokens?: number
  /** Ids that end the text; they are not given out. Default: the config's eos_token_id. */
  stopIds?: readonly number[]
  /** Default 0. */
  seed?: number
  /** How many of the likeliest tokens to report beside each one; 0: its own probability alone. Default: nothing. */
  logprobs?: number
}

/**
 * Why a text ended; `positions`: there is room for no more of them, though more tokens were wanted; `deadline`: there was no
 * time for more.
 */
export type StopReason = 'end-of-text' | 'stop-text' | 'max-new-tokens' | 'positions' | 'deadline' | 'aborted'

/** A token, and when `logprobs` asks for it how likely it was. */
export interface WrittenToken {
  id: number
  probabilities?: TokenProbabilities
}

/** What a text keeps to beside its options. */
export interface GrowthLimits {
  /** Tokens that there is memory for, the prompt's included. Default: as many as the model has positions. */
  room?: number
  /** Default: any token may come next. */
  constraint?: TokenConstraint | null
}

export class GrowingText implements TextSoFar {
  readonly prompt: readonly number[]
  readonly written: number[] = []
  /** Null while it goes on. */
  reason: StopReason | null = null
  readonly #sampling: ReturnType<typeof checkSampling>
  readonly #stopIds: ReadonlySet<number | null>
  readonly #logprobs: number | undefined
  readonly #limit: number
  /** What ends a text that reaches its limit. */
  readonly #atLimit: StopReason
  readonly #uniform: () => number
  readonly #constraint: TokenConstraint | null

  /**
   * @param prompt at least one id
   * @throws ConfigError for a prompt and options that cannot be
   */
  constructor(
    config: TextModel['config'],
    prompt: readonly number[],
    options: GrowthOptions = {},
    { room = Number.POSITIVE_INFINITY, constraint = null }: GrowthLimits = {},
  ) {
    const { seed = 0, maxNewTokens, stopIds, logprobs } = options
    this.prompt = prompt
    this.#sampling = checkSampling(options, config.vocab_size)
    this.#stopIds = new Set(stopIds ?? [config.eos_token_id].flat())
    this.#logprobs = logprobs
    this.#limit = Math.min(maxNewTokens ?? 128, roomAfter(config, prompt, room))
    this.#atLimit = this.#limit < (maxNewTokens ?? this.#limit) ? 'positions' : 'max-new-tokens'
    this.#uniform = uniformSource(seed)
    this.#constraint = constraint
    if (this.#limit === 0) this.reason = this.#atLimit
  }

  /** Most tokens that will be written. */
  get limit(): number {
    return this.#limit
  }

  /**
   * Draws the next token; null when the text ends without one more.
   *
   * @param logits [V], changed by what may not come next, penalties and biases
   */
  extend(logits: Float32Array): WrittenToken | null {
    const unchanged = this.#logprobs === undefined ? null : logits.slice()
    // Where nothing may follow there is nothing to draw.
    const isOver = this.#constraint !== null && !maskLogits(logits, this.#constraint.allowed())
    const id = isOver ? null : sampleToken(logits, this, this.#sampling, this.#uniform)
    if (id === null || this.#stopIds.has(id)) {
      this.reason = 'end-of-text'
      return null
    }
    this.#constraint?.accept(id)
    this.written.push(id)
    if (this.written.length >= this.#limit) this.reason = this.#atLimit
    return unchanged ? { id, probabilities: tokenProbabilities(unchanged, id, this.#logprobs) } : { id }
  }
}

/**
 * Tokens that may follow a prompt.
 *
 * @throws ConfigError for a prompt that is empty, has ids that the model does not know, or leaves no room
 */
export function roomAfter(
  config: TextModel['config'],
  prompt: readonly number[],
  room = Number.POSITIVE_INFINITY,
): number {
  const { vocab_size } = config
  if (prompt.length === 0) throw new ConfigError('is empty: give at least one token', { path: 'prompt' })
  const outside = prompt.find(id => !(Number.isInteger(id) && id >= 0 && id < vocab_size))
  if (outside !== undefined) {
    throw new ConfigError(`id ${outside} is outside of the model's vocabulary of ${vocab_size}`, {
      path: 'prompt',
    })
  }
  // Positions of an encoder-decoder are counted on without end.
  const known = 'decoder_start_token_id' in config ? null : config.max_position_embeddings
  const positions = Math.min(known ?? Number.POSITIVE_INFINITY, room)
  if (prompt.length >= positions) {
    const whose = positions === known ? "the model's" : 'the'
    throw new ConfigError(
      `has ${prompt.length} tokens; ${whose} ${positions} positions leave no room to continue`,
      { path: 'prompt' },
    )
  }
  return positions - prompt.length
}
