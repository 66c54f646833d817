// Generation as text: tokens in and out through a tokenizer, ending before any of the stop texts.

import { StreamDecoder, type Tokenizer } from '../../data/index.ts'
import { ConfigError } from '../../errors.ts'
import {
  drive,
  type GenerateOptions,
  Generation,
  type GenerationTimings,
  type StopReason,
} from './generate.ts'
import type { TokenProbabilities } from './probabilities.ts'
import type { TextModel } from './session.ts'
import { StopTexts } from './stop-texts.ts'

/** What generateText() may be told: how tokens are drawn, and what ends the text. */
export interface GenerateTextOptions extends GenerateOptions {
  /** The text ends before the first of these that appears. */
  stop?: readonly string[]
  /** Whether prompts have their special tokens written out, as chat templates do. Default false: they are added. */
  isTemplated?: boolean
}

/** What generateText() returns once a text has ended. */
export interface GenerationEnd {
  /** New tokens, of which a stop text may have cut some off the text. */
  tokens: number
  reason: StopReason
  /** Of all texts that were written together. */
  timings: GenerationTimings
  /** Of each token, when `logprobs` asks for it. */
  probabilities?: (TokenProbabilities & { id: number })[]
}

/** A piece of one of several texts. */
export interface TextPiece {
  /** Number of the text, as the prompts have it. */
  text: number
  piece: string
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
  options: GenerateTextOptions = {},
): AsyncGenerator<string, GenerationEnd> {
  const pieces = generateTexts(model, tokenizer, [prompt], options)
  let next = await pieces.next()
  for (; !next.done; next = await pieces.next()) yield next.value.piece
  return next.value[0] as GenerationEnd
}

/** generateText() of several prompts together; pieces say whose they are. For several samples give a prompt again. */
export async function* generateTexts(
  model: TextModel,
  tokenizer: Tokenizer,
  prompts: readonly string[],
  { stop = [], isTemplated = false, ...options }: GenerateTextOptions = {},
): AsyncGenerator<TextPiece, GenerationEnd[]> {
  refuseOther(model, tokenizer)
  const encoded = await tokenizer.encodeBatch(prompts, { addSpecialTokens: !isTemplated })
  const rows = encoded.map(ids => (ids.length > 0 ? ids : [textStart(tokenizer)]))
  using generation = new Generation(model, rows, options)
  const writers = prompts.map(() => new Writer(tokenizer, stop))
  for await (const { text, id, probabilities } of drive(generation, options.signal)) {
    const writer = writers[text] as Writer
    const piece = writer.push(id, probabilities)
    if (piece !== '') yield { text, piece }
    if (writer.stopped) generation.end(text, 'stop-text')
  }
  for (const [text, writer] of writers.entries()) {
    const piece = writer.flush()
    if (piece !== '') yield { text, piece }
  }
  const { reasons, timings } = generation
  return writers.map((writer, text) => ({
    tokens: writer.tokens,
    timings,
    // A stop text within the last token counts for more than the limit that the token reached.
    reason: writer.stopped ? 'stop-text' : (reasons[text] ?? 'aborted'),
    ...(options.logprobs !== undefined && { probabilities: writer.probabilities }),
  }))
}

/** Tokens of one text to characters. */
class Writer {
  tokens = 0
  readonly probabilities: (TokenProbabilities & { id: number })[] = []
  readonly #decoder: StreamDecoder
  readonly #stops: StopTexts

  constructor(tokenizer: Tokenizer, stop: readonly string[]) {
    this.#decoder = new StreamDecoder(tokenizer)
    this.#stops = new StopTexts(stop)
  }

  get stopped(): boolean {
    return this.#stops.reached
  }

  push(id: number, probabilities?: TokenProbabilities): string {
    this.tokens++
    if (probabilities) this.probabilities.push({ id, ...probabilities })
    return this.#stops.push(this.#decoder.push(id))
  }

  flush(): string {
    return this.stopped ? '' : this.#stops.push(this.#decoder.flush()) + this.#stops.flush()
  }
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
