// Token by token: prefill once, then one position per step, for one text or several at a time.

import { ConfigError } from '../../errors.ts'
import type { KvType } from '../../nn/index.ts'
import { type TokenProbabilities, tokenProbabilities } from './probabilities.ts'
import { uniformSource } from './random.ts'
import { checkSampling, type SamplingOptions, sampleToken } from './sampling.ts'
import type { Rows, Session, TextModel } from './session.ts'
import { startSession } from './start-session.ts'

export interface GenerateOptions extends SamplingOptions {
  /** Default 128, or what is left of the model's positions. */
  maxNewTokens?: number
  /** Ids that end the text; they are not given out. Default: the config's eos_token_id. */
  stopIds?: readonly number[]
  /** Default 0. The n-th of several texts has a seed of its own that follows from it. */
  seed?: number
  /** Number of the text's task, for a decoder whose router goes by it. */
  task?: number
  /** What keys and values are kept in: f16 and q8_0 for models in f32 on a CPU. Default: what the model computes in. */
  kv?: KvType | undefined
  /** How many of the likeliest tokens to report beside each one; 0: its own probability alone. Default: nothing. */
  logprobs?: number
  /** Ends the generation between two tokens. */
  signal?: AbortSignal
}

/** Why a text ended; `positions`: the model has no more of them, though more tokens were wanted. */
export type StopReason = 'end-of-text' | 'stop-text' | 'max-new-tokens' | 'positions' | 'aborted'

/** What a generation took so far. */
export interface GenerationTimings {
  /** Tokens of all prompts. */
  promptTokens: number
  /** To the first scores after the prompts. */
  promptSeconds: number
  /** Tokens written after the first of each text. */
  newTokens: number
  newSeconds: number
}

export interface GeneratedToken {
  /** Number of the text, as the prompts have it. */
  text: number
  id: number
  /** When `logprobs` asks for it. */
  probabilities?: TokenProbabilities
}

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
  const tokens = generateBatch(model, [prompt], options)
  let next = await tokens.next()
  for (; !next.done; next = await tokens.next()) yield next.value.id
  return next.value[0] ?? 'aborted'
}

/**
 * Continues several prompts together, of whatever lengths; each gets what it would get alone, but for the order of sums.
 * For several samples of one prompt give it several times. Returns why each ended.
 */
export async function* generateBatch(
  model: TextModel,
  prompts: Rows,
  options: GenerateOptions = {},
): AsyncGenerator<GeneratedToken, StopReason[]> {
  using generation = new Generation(model, prompts, options)
  yield* drive(generation, options.signal)
  return generation.reasons
}

/** Steps to the end. The event loop turns between them; whoever listens may end texts. */
export async function* drive(
  generation: Generation,
  signal: AbortSignal | undefined,
): AsyncGenerator<GeneratedToken, void> {
  while (!generation.isOver) {
    if (signal?.aborted) return generation.endAll('aborted')
    yield* generation.step()
    await new Promise(setImmediate)
  }
}

/** One of the texts. */
interface Text {
  prompt: readonly number[]
  written: number[]
  limit: number
  uniform: () => number
  reason: StopReason | null
}

/** A batch of texts that grow by a token per step. */
export class Generation implements Disposable {
  readonly #texts: readonly Text[]
  readonly #session: Session
  readonly #sampling: ReturnType<typeof checkSampling>
  readonly #stopIds: ReadonlySet<number | null>
  readonly #options: GenerateOptions
  #fresh: Rows
  readonly timings: GenerationTimings

  /** @throws ConfigError for prompts and options that cannot be */
  constructor(model: TextModel, prompts: Rows, options: GenerateOptions = {}) {
    if (prompts.length === 0) throw new ConfigError('there is none', { path: 'prompts' })
    const { seed = 0, maxNewTokens, task, kv } = options
    this.#options = options
    this.#sampling = checkSampling(options, model.config.vocab_size)
    this.#stopIds = new Set(options.stopIds ?? [model.config.eos_token_id].flat())
    this.#texts = prompts.map((prompt, i) => ({
      prompt,
      written: [],
      limit: newTokenLimit(model, prompt, maxNewTokens),
      uniform: uniformSource(seed + Math.imul(i, 0x85ebca6b)),
      reason: null,
    }))
    const newTokens = Math.max(...this.#texts.map(text => text.limit))
    this.#session = startSession(model, { prompts, newTokens, task, kv })
    this.#fresh = this.#session.first
    const promptTokens = prompts.reduce((sum, { length }) => sum + length, 0)
    this.timings = { promptTokens, promptSeconds: 0, newTokens: 0, newSeconds: 0 }
  }

  get isOver(): boolean {
    return this.#texts.every(text => text.reason !== null)
  }

  /** Why each text ended; those that did not are taken as aborted. */
  get reasons(): StopReason[] {
    return this.#texts.map(text => text.reason ?? 'aborted')
  }

  /** Ends a text from outside, as when its end was seen in its characters. */
  end(text: number, reason: StopReason): void {
    const ended = this.#texts[text]
    if (ended) ended.reason ??= reason
  }

  endAll(reason: StopReason): void {
    for (const text of this.#texts.keys()) this.end(text, reason)
  }

  /** The next token of every text that goes on; texts that end with this step are not among them. */
  step(): GeneratedToken[] {
    const start = performance.now()
    const tokens = this.#next()
    const seconds = (performance.now() - start) / 1000
    if (this.timings.promptSeconds === 0) this.timings.promptSeconds = seconds
    else {
      this.timings.newSeconds += seconds
      this.timings.newTokens += tokens.length
    }
    return tokens
  }

  #next(): GeneratedToken[] {
    const scores = this.#session.next(this.#fresh)
    const tokens = this.#texts.flatMap((text, i) => this.#extend(text, i, scores[i] as Float32Array))
    // Ended texts go on with any token, which nobody sees.
    this.#fresh = this.#texts.map(({ written }) => [written.at(-1) ?? 0])
    return tokens
  }

  #extend(text: Text, index: number, logits: Float32Array): GeneratedToken[] {
    if (text.reason !== null) return []
    const { logprobs } = this.#options
    const unchanged = logprobs === undefined ? null : logits.slice()
    const id = sampleToken(logits, text, this.#sampling, text.uniform)
    if (this.#stopIds.has(id)) {
      text.reason = 'end-of-text'
      return []
    }
    text.written.push(id)
    if (text.written.length >= text.limit)
      text.reason = text.limit < (this.#options.maxNewTokens ?? text.limit) ? 'positions' : 'max-new-tokens'
    const token: GeneratedToken = { text: index, id }
    return [unchanged ? { ...token, probabilities: tokenProbabilities(unchanged, id, logprobs) } : token]
  }

  [Symbol.dispose](): void {
    this.#session[Symbol.dispose]()
  }
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
