// Generation as text: tokens in and out through a tokenizer, ending before any of the stop texts.

import type { Languages, Tokenizer } from '../../data/index.ts'
import { drive, type GenerateOptions, Generation, type GenerationTimings } from './generate.ts'
import type { StopReason, WrittenToken } from './growing-text.ts'
import { promptsInLanguages } from './languages.ts'
import type { TokenProbabilities } from './probabilities.ts'
import type { TextModel } from './session.ts'
import { refuseOtherTokenizer, TextWriter } from './text-writer.ts'

/** What generateText() may be told: how tokens are drawn, and what ends the text. */
export interface GenerateTextOptions extends GenerateOptions {
  /** The text ends before the first of these that appears. */
  stop?: readonly string[]
  /** Whether prompts have their special tokens written out, as chat templates do. Default false: they are added. */
  isTemplated?: boolean
  /** What language prompts are in, and what they are to be answered in, for an encoder-decoder whose tokenizer has these. */
  languages?: Languages
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
  { stop = [], isTemplated = false, languages, ...options }: GenerateTextOptions = {},
): AsyncGenerator<TextPiece, GenerationEnd[]> {
  refuseOtherTokenizer(model, tokenizer)
  const { rows, beginnings } = await promptsInLanguages(tokenizer, prompts, languages, isTemplated)
  using generation = new Generation(model, rows, { ...options, beginnings })
  const writers = prompts.map(() => new TextWriter(tokenizer, stop))
  const written = prompts.map((): WrittenToken[] => [])
  for await (const { text, ...token } of drive(generation, options.signal)) {
    const writer = writers[text] as TextWriter
    written[text]?.push(token)
    const piece = writer.push(token.id)
    if (piece !== '') yield { text, piece }
    if (writer.stopped) generation.end(text, 'stop-text')
  }
  for (const [text, writer] of writers.entries()) {
    const piece = writer.flush()
    if (piece !== '') yield { text, piece }
  }
  const { reasons, timings } = generation
  return writers.map((writer, text) => ({
    tokens: written[text]?.length ?? 0,
    timings,
    // A stop text within the last token counts for more than the limit that the token reached.
    reason: writer.stopped ? 'stop-text' : (reasons[text] ?? 'aborted'),
    ...(options.logprobs !== undefined && { probabilities: (written[text] ?? []).flatMap(reported) }),
  }))
}

const reported = ({ id, probabilities }: WrittenToken): (TokenProbabilities & { id: number })[] =>
  probabilities ? [{ id, ...probabilities }] : []
