// Generation as text: tokens in and out through a tokenizer, ending before any of the stop texts.

import { StreamDecoder, type Tokenizer } from '../../data/index.ts'
import { ConfigError } from '../../errors.ts'
import { type GenerateOptions, generate, type StopReason } from './generate.ts'
import type { TextModel } from './session.ts'

export interface GenerateTextOptions extends GenerateOptions {
  /** The text ends before the first of these that appears. */
  stop?: readonly string[]
}

export interface GenerationEnd {
  /** New tokens, of which a stop text may have cut some off the text. */
  tokens: number
  reason: StopReason
}

/**
 * Continues a prompt, giving pieces of text as they become certain: whole characters, and nothing that may turn out to
 * be the beginning of a stop text. Returns how it ended.
 *
 * @throws ConfigError when the tokenizer does not fit the model
 */
export async function* generateText(
  model: TextModel,
  tokenizer: Tokenizer,
  prompt: string,
  { stop = [], ...options }: GenerateTextOptions = {},
): AsyncGenerator<string, GenerationEnd> {
  refuseOther(model, tokenizer)
  const ids = await tokenizer.encode(prompt, { addSpecialTokens: true })
  const decoder = new StreamDecoder(tokenizer)
  const stops = new StopTexts(stop)
  const prompted = ids.length > 0 ? ids : [textStart(tokenizer)]
  const end: GenerationEnd = { tokens: 0, reason: 'stop-text' }
  const untilEnd = (async function* () {
    end.reason = yield* generate(model, prompted, options)
  })()
  for await (const id of untilEnd) {
    end.tokens++
    const piece = stops.push(decoder.push(id))
    if (piece !== '') yield piece
    if (stops.reached) return end
  }
  const rest = stops.push(decoder.flush()) + stops.flush()
  if (rest !== '') yield rest
  return end
}

/** What stood before each text in training, where texts are packed one after the other: the end of another. */
function textStart({ specialIds: { eos, bos } }: Tokenizer): number {
  return eos ?? bos ?? 0
}

function refuseOther(model: TextModel, tokenizer: Tokenizer): void {
  const { vocab_size } = model.config
  if (tokenizer.vocabSize <= vocab_size) return
  throw new ConfigError(
    `the tokenizer has ${tokenizer.vocabSize} tokens, the model only ${vocab_size}: they do not belong together`,
    { path: 'tokenizer.json' },
  )
}

/** Holds back the end of a text as long as it may begin a stop text. */
export class StopTexts {
  readonly #stops: readonly string[]
  #held = ''
  /** Whether a stop text appeared. */
  reached = false

  constructor(stops: readonly string[]) {
    this.#stops = stops.filter(text => text !== '')
  }

  /** Takes text and returns what can be shown. */
  push(text: string): string {
    if (this.reached) return ''
    const all = this.#held + text
    const places = this.#stops.map(stop => all.indexOf(stop)).filter(at => at >= 0)
    if (places.length > 0) {
      this.reached = true
      this.#held = ''
      return all.slice(0, Math.min(...places))
    }
    const kept = Math.max(0, ...this.#stops.map(stop => overlap(all, stop)))
    this.#held = all.slice(all.length - kept)
    return all.slice(0, all.length - kept)
  }

  /** What was held back, once no more text comes. */
  flush(): string {
    const rest = this.#held
    this.#held = ''
    return rest
  }
}

/** Length of the longest end of `text` that begins `stop`. */
function overlap(text: string, stop: string): number {
  for (let length = Math.min(text.length, stop.length - 1); length > 0; length--) {
    if (text.endsWith(stop.slice(0, length))) return length
  }
  return 0
}
