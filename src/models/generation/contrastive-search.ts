// Likely tokens that say something new: greedy decoding with a penalty for what resembles the text so far (Su et al.,
// arXiv:2202.06417 equation 5).
// Shapes: K candidates, D model, V vocabulary, S tokens of the text so far.

import { ConfigError } from '../../errors.ts'
import { ContiguousCache } from '../../nn/index.ts'
import { cat, inferenceMode, type Tensor, tidy } from '../../torch/index.ts'
import { EncoderDecoderLM } from '../stack/encoder-decoder.ts'
import type { CausalLM } from '../stack/language-model.ts'
import { tokensOfSequences } from '../stack/tokens.ts'
import { roomAfter, type StopReason } from './growing-text.ts'
import type { TextModel } from './session.ts'

export interface ContrastiveOptions {
  /** alpha, in [0, 1]: what a resemblance counts against a probability; 0 is greedy. Default 0.6. */
  penalty?: number
  /** K, of which each token is one: the likeliest. Default 4. */
  candidates?: number
  /** Default 128, or what is left of the model's positions. */
  maxNewTokens?: number
  /** Ids that end the text; they are not given out. Default: the config's eos_token_id. */
  stopIds?: readonly number[]
  signal?: AbortSignal
}

export interface ContrastiveText {
  ids: number[]
  reason: Exclude<StopReason, 'stop-text' | 'deadline'>
}

/**
 * A decoder's text in which each token is, of the K likeliest, the one of the largest
 * `(1 - alpha) p(v) - alpha max_j cos(h_v, h_j)`, where h_v is the last layer's hidden state after v and h_j those of all tokens
 * before it. The event loop turns between tokens.
 *
 * @throws ConfigError for options that cannot be, and for encoder-decoders
 */
export async function contrastiveSearch(
  model: TextModel,
  prompt: readonly number[],
  options: ContrastiveOptions = {},
): Promise<ContrastiveText> {
  if (model instanceof EncoderDecoderLM)
    throw new ConfigError('is for decoders: an encoder-decoder writes by beams', { path: 'contrastive' })
  const { penalty, candidates, maxNewTokens } = checked(options, model.config.vocab_size)
  const stopIds = new Set(options.stopIds ?? [model.config.eos_token_id].flat())
  const limit = Math.min(maxNewTokens, roomAfter(model.config, prompt))
  using search = new Search(model, prompt, { candidates, capacity: prompt.length + limit })
  const ids: number[] = []
  while (ids.length < limit && !options.signal?.aborted) {
    const id = search.next(penalty)
    if (stopIds.has(id)) return { ids, reason: 'end-of-text' }
    ids.push(id)
    await new Promise(setImmediate)
  }
  const atLimit = limit < maxNewTokens ? 'positions' : 'max-new-tokens'
  return { ids, reason: ids.length < limit ? 'aborted' : atLimit }
}

function checked(
  { penalty = 0.6, candidates = 4, maxNewTokens = 128 }: ContrastiveOptions,
  vocabulary: number,
): Required<Pick<ContrastiveOptions, 'penalty' | 'candidates' | 'maxNewTokens'>> {
  if (!(penalty >= 0 && penalty <= 1))
    throw new ConfigError(`must be in 0..1, got ${penalty}`, { path: 'penalty' })
  if (!Number.isInteger(candidates) || candidates < 1 || candidates > vocabulary)
    throw new ConfigError(`must be a whole number in 1..${vocabulary}, got ${candidates}`, {
      path: 'candidates',
    })
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1)
    throw new ConfigError(`must be a whole number above 0, got ${maxNewTokens}`, { path: 'maxNewTokens' })
  return { penalty, candidates, maxNewTokens }
}

/** A text, and what its candidates would make of it: each is a sequence of the cache, all alike but for their last token. */
class Search implements Disposable {
  readonly #model: CausalLM
  readonly #cache: ContiguousCache
  readonly #candidates: number
  /** Hidden states of length 1: [S, D]. */
  #context: Tensor
  /** Of the next token: [V]. */
  #probs: Tensor

  constructor(
    model: CausalLM,
    prompt: readonly number[],
    { candidates, capacity }: { candidates: number; capacity: number },
  ) {
    this.#model = model
    this.#candidates = candidates
    this.#cache = new ContiguousCache(model, { sequences: candidates, capacity })
    const others = new Array<number[]>(candidates - 1).fill([])
    const { hidden, logits } = this.#read([prompt, ...others], [prompt.length - 1])
    this.#context = hidden
    this.#probs = logits.softmax(-1).select(0, 0).persist()
    logits.dispose()
    this.#goOnWith(0)
  }

  /** Chooses a token, and goes on with it. */
  next(penalty: number): number {
    return inferenceMode(() =>
      tidy(() => {
        const [likeliest, ids] = this.#probs.topk(this.#candidates)
        const numbers = [...ids.to('i32').toTypedArray<'i32'>()]
        const { hidden, logits } = this.#read(numbers.map(id => [id])) // [K, D], [K, V]
        const resemblance = hidden.matmul(this.#context.t()).max(-1)[0] // [K]
        const scores = likeliest.mul(1 - penalty).sub(resemblance, penalty)
        const best = scores.argmax().item()
        this.#keep(hidden.narrow(0, best, 1), logits.select(0, best))
        this.#goOnWith(best)
        for (const tensor of [hidden, logits]) tensor.dispose()
        return numbers[best] as number
      }),
    )
  }

  /** All sequences become what one is. */
  #goOnWith(sequence: number): void {
    this.#cache.reorder(new Array<number>(this.#candidates).fill(sequence))
  }

  #keep(hidden: Tensor, logits: Tensor): void {
    const before = [this.#context, this.#probs]
    this.#context = cat([this.#context, hidden]).persist()
    this.#probs = logits.softmax(-1).persist()
    for (const tensor of before) tensor.dispose()
  }

  /** Hidden states of new tokens, of length 1, and the logits of those that are named, or of all. */
  #read(
    rows: readonly (readonly number[])[],
    logitsAt?: readonly number[],
  ): { hidden: Tensor; logits: Tensor } {
    return inferenceMode(() =>
      tidy(() => {
        const tokens = tokensOfSequences(rows, { past: this.#cache.lengths, device: this.#model.device })
        const output = this.#model.forward(tokens, { cache: this.#cache, ...(logitsAt && { logitsAt }) })
        const hidden = output.hidden.float()
        const unit = hidden.div(hidden.norm(2, [-1], true).clamp(1e-12))
        return { hidden: unit.persist(), logits: output.logits.float().persist() }
      }),
    )
  }

  [Symbol.dispose](): void {
    for (const tensor of [this.#context, this.#probs]) tensor.dispose()
    this.#cache.dispose()
  }
}
