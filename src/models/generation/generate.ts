// Token by token: prefill once, then one position per step, for one text or several at a time.

import { ConfigError } from '../../errors.ts'
import type { KvType } from '../../nn/index.ts'
import { GrowingText, type GrowthOptions, type StopReason, type WrittenToken } from './growing-text.ts'
import { type Rows, refuseBeginnings, type Session, type TextModel } from './session.ts'
import { startSession } from './start-session.ts'
import type { TokenConstraint } from './token-constraint.ts'

export interface GenerateOptions extends GrowthOptions {
  /** Default 0. The n-th of several texts has a seed of its own that follows from it. */
  seed?: number
  /** Number of the text's task, for a decoder whose router goes by it. */
  task?: number
  /** What keys and values are kept in: f16 and q8_0 for models in f32 on a CPU. Default: what the model computes in. */
  kv?: KvType | undefined
  /** What the target of each prompt begins with, as the token of its language, for an encoder-decoder. Default: nothing. */
  beginnings?: Rows | undefined
  /** What each of the texts is held to. Default: any token may come next. */
  constraints?: readonly TokenConstraint[] | undefined
  /** Ends the generation between two tokens. */
  signal?: AbortSignal
}

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

export interface GeneratedToken extends WrittenToken {
  /** Number of the text, as the prompts have it. */
  text: number
}

/** The seed of the n-th of several texts. */
export const seedOf = (seed: number, text: number): number => seed + Math.imul(text, 0x85ebca6b)

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

/** A batch of texts that grow by a token per step. */
export class Generation implements Disposable {
  readonly #texts: readonly GrowingText[]
  readonly #session: Session
  #fresh: Rows
  readonly timings: GenerationTimings

  /** @throws ConfigError for prompts and options that cannot be */
  constructor(model: TextModel, prompts: Rows, options: GenerateOptions = {}) {
    if (prompts.length === 0) throw new ConfigError('there is none', { path: 'prompts' })
    const { seed = 0, task, kv, beginnings, constraints = [] } = options
    refuseBeginnings(model, beginnings)
    this.#texts = prompts.map((prompt, i) => {
      const own = { ...options, seed: seedOf(seed, i) }
      return new GrowingText(model.config, prompt, own, { constraint: constraints[i] ?? null })
    })
    const newTokens = Math.max(...this.#texts.map(text => text.limit))
    this.#session = startSession(model, { prompts, beginnings, newTokens, task, kv })
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
    const tokens = this.#texts.flatMap((text, i): GeneratedToken[] => {
      const token = text.reason === null ? text.extend(scores[i] as Float32Array) : null
      return token ? [{ text: i, ...token }] : []
    })
    // Ended texts go on with any token, which nobody sees.
    this.#fresh = this.#texts.map(({ written }) => [written.at(-1) ?? 0])
    return tokens
  }

  [Symbol.dispose](): void {
    this.#session[Symbol.dispose]()
  }
}
