// From conversations to a corpus whose tokens say which of them are to be learnt.

import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DataError, FormatError, SwitchyardError } from '../../errors.ts'
import { type Corpus, openCorpus } from '../corpus.ts'
import { CorpusFolder } from '../corpus-folder.ts'
import { type CorpusManifest, notCleaned, type SplitName } from '../corpus-manifest.ts'
import { defaultShardTokens, ShardWriter } from '../corpus-writer.ts'
import type { PrepareProgress } from '../prepare.ts'
import { TokenCounter } from '../token-counts.ts'
import type { Tokenizer } from '../tokenizer.ts'
import { makeTokenizer, type TokenizerChoice } from '../tokenizer-choice.ts'
import { type AnsweredText, answeredTexts, type Render } from './answers.ts'
import { encodeAnswered } from './encode.ts'
import { encodePair } from './encode-pair.ts'
import { type ExampleSource, exampleFiles, type FoundRecord } from './source.ts'

export interface PrepareExamplesOptions {
  /** Folder of the corpus; made when missing. */
  out: string
  source: ExampleSource
  /** Examples for validation, in place of a share. Default: a share is held out. */
  heldOut?: ExampleSource
  /** The model's own, or one that is made for what is read. */
  tokenizer: TokenizerChoice
  /** Special tokens that the tokenizer gets beside its own, as those of languages. Default: none. */
  specialTokens?: readonly string[]
  /** The chat template. Default: there is none, and messages are refused. */
  render?: Render
  /** Its text, for a template that is not the model's own: kept beside the tokenizer. */
  template?: string
  /** Whether what is read and what is learnt are texts of their own, as for an encoder-decoder. Default: they are one. */
  apart?: boolean
  /** Share of examples for validation, chosen by what they hold. Default: 0.05. */
  validation?: number
  /** Decides which examples are held out. Default: 1. */
  seed?: number
  /** Replace a corpus that is there. */
  force?: boolean
  onProgress?: (progress: PrepareProgress) => void
  /** Aborting ends the preparation with the signal's reason and removes what it has written. */
  signal?: AbortSignal
}

export interface PrepareConversationsOptions extends Omit<PrepareExamplesOptions, 'source'> {
  /** Files and folders. */
  paths: readonly string[]
}

/**
 * Writes conversations as a corpus and opens it: an example is a document, with a mark at each token that is to be learnt. The same
 * files and seed give the same corpus, a record at a time in memory.
 *
 * @throws FormatError naming the line that is no conversation, or that the template refuses or the tokenizer; nothing is kept then
 */
export function prepareConversations({ paths, ...options }: PrepareConversationsOptions): Promise<Corpus> {
  return prepareExamples({ ...options, source: exampleFiles(paths) })
}

/** prepareConversations() of examples from anywhere. */
export async function prepareExamples(options: PrepareExamplesOptions): Promise<Corpus> {
  const { out, source, validation = 0.05, seed = 1, signal } = options
  const render = options.render ? refusing(options.render) : withoutTemplate
  const onProgress = (fraction: number, text: string): void => {
    signal?.throwIfAborted()
    options.onProgress?.({ stage: 'encode', fraction, text })
  }
  using folder = new CorpusFolder(out, { force: options.force ?? false })
  const tokenizer = await makeTokenizer(options.tokenizer, folder.files, {
    texts: options.tokenizer.kind === 'bpe' ? await textsOf(source, signal) : [],
    ...{ specialTokens: options.specialTokens, signal },
  })
  if (options.template !== undefined)
    writeFileSync(join(folder.files, 'chat_template.jinja'), options.template)
  const splits = new Splits(folder.files, tokenizer, options.apart ? encodePair : encodeAnswered)
  const add = async (from: ExampleSource, choose: (first: string) => SplitName): Promise<void> => {
    for await (const record of from.records(onProgress)) {
      signal?.throwIfAborted()
      await inPlace(record, async () => {
        const examples = await written(record, render)
        // All texts of a conversation go the same way: they have messages in common.
        const split = choose(examples[0]?.[0]?.text ?? '')
        for (const texts of examples) await splits.add(split, texts, record.domain)
      })
    }
  }
  const { heldOut } = options
  if (heldOut) {
    await add(source, () => 'train')
    await add(heldOut, () => 'validation')
  } else {
    const isHeldOut = (text: string): boolean => fractionOf(`${seed} ${text}`) < validation
    await add(source, text => (isHeldOut(text) ? 'validation' : 'train'))
  }
  const origins = source.origins()
  const shards = await splits.finish(origins.map(({ name }) => name))
  folder.install({
    format: 'switchyard-corpus',
    version: 1,
    seed,
    vocabSize: tokenizer.vocabSize,
    ...shards,
    origins,
    cleaning: notCleaned,
  })
  return openCorpus(out)
}

/** Characters that a tokenizer is trained on: more change little and take long. */
const tokenizerCharacters = 32e6

/** The first texts of a source, of both sides. */
async function textsOf(source: ExampleSource, signal: AbortSignal | undefined): Promise<string[]> {
  const texts: string[] = []
  let left = tokenizerCharacters
  for await (const record of source.records(() => signal?.throwIfAborted())) {
    if (record.kind !== 'plain') continue
    texts.push(record.prompt, record.completion)
    left -= record.prompt.length + record.completion.length
    if (left <= 0) break
  }
  return texts
}

/** Names the place of what goes wrong with a record. */
async function inPlace({ file, place }: FoundRecord, body: () => Promise<void>): Promise<void> {
  try {
    await body()
  } catch (cause) {
    if (!(cause instanceof SwitchyardError)) throw cause
    throw new FormatError(`${place}: ${cause.message}`, { file, cause })
  }
}

/** Says of what a template throws that it is the template's. */
const refusing =
  (render: Render): Render =>
  async (messages, options) => {
    try {
      return await render(messages, options)
    } catch (cause) {
      throw new DataError(`the chat template refuses it (${(cause as Error).message})`, { cause })
    }
  }

const withoutTemplate: Render = async () => {
  throw new DataError(
    'the model has no chat template, which messages need: name one, or give prompts with completions',
  )
}

/** The texts that belong together: one of an example, two of a pair. */
async function written(record: FoundRecord, render: Render): Promise<AnsweredText[][]> {
  if (record.kind !== 'pair') return (await answeredTexts(record, render)).map(text => [text])
  const [chosen, rejected] = await Promise.all(
    [record.chosen, record.rejected].map(side => answeredTexts(side, render)),
  )
  // What the last answer of each is preferred for; earlier ones are the same.
  return [[chosen?.at(-1), rejected?.at(-1)].filter(text => text !== undefined)]
}

/** A number in [0, 1) that a text decides. */
const fractionOf = (text: string): number =>
  createHash('sha256').update(text).digest().readUInt32BE(0) / 2 ** 32

type Written = Pick<CorpusManifest, 'domains' | 'shards' | 'answers'>

/** Both splits in the making. */
class Splits {
  readonly #tokenizer: Tokenizer
  readonly #encode: typeof encodeAnswered
  readonly #writers: Record<SplitName, ShardWriter>
  readonly #domains = new Map<string, Record<SplitName, TokenCounter>>()
  #taught = 0
  #examples = 0
  #together: number | undefined

  constructor(folder: string, tokenizer: Tokenizer, encode: typeof encodeAnswered) {
    this.#tokenizer = tokenizer
    this.#encode = encode
    const { vocabSize } = tokenizer
    const writer = (split: SplitName): ShardWriter =>
      new ShardWriter({ folder, split, vocabSize, shardTokens: defaultShardTokens })
    this.#writers = { train: writer('train'), validation: writer('validation') }
  }

  /** @param texts one, or two that are a pair: of all examples or of none */
  async add(split: SplitName, texts: readonly AnsweredText[], domain: string): Promise<void> {
    this.#together ??= texts.length
    if (this.#together !== texts.length)
      throw new DataError('some examples are pairs and others are not: give them apart')
    const examples = await Promise.all(texts.map(text => this.#encode(text, this.#tokenizer)))
    const marked = examples.map(({ taught }) => taught.reduce((sum, mark) => sum + mark, 0))
    if (marked.includes(0)) return // an empty answer teaches nothing
    const counter = this.#counters(domain)[split]
    const index = [...this.#domains.keys()].indexOf(domain)
    for (const [i, { ids, taught }] of examples.entries()) {
      const bytes = Buffer.byteLength(texts[i]?.text ?? '')
      counter.add(ids, bytes)
      await this.#writers[split].add(ids, index, bytes, taught)
    }
    this.#taught += marked.reduce((sum, count) => sum + count, 0)
    this.#examples += examples.length
  }

  #counters(domain: string): Record<SplitName, TokenCounter> {
    const known = this.#domains.get(domain)
    if (known) return known
    const { vocabSize } = this.#tokenizer
    const made = { train: new TokenCounter(vocabSize), validation: new TokenCounter(vocabSize) }
    this.#domains.set(domain, made)
    return made
  }

  async finish(paths: readonly string[]): Promise<Written> {
    const train = await this.#writers.train.finish()
    const validation = await this.#writers.validation.finish()
    if (train.length === 0)
      throw new DataError(
        `${paths.join(', ')}: no conversation to learn from, or all are held out: give more`,
      )
    const domains = [...this.#domains].map(([name, counters]) => ({
      name,
      train: counters.train.counts,
      validation: counters.validation.counts,
    }))
    return {
      domains,
      shards: { train, validation },
      answers: { examples: this.#examples, tokens: this.#taught, together: this.#together === 2 ? 2 : 1 },
    }
  }
}
