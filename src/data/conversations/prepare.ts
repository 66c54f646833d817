// From conversations to a corpus whose tokens say which of them are to be learnt.

import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { DataError, FormatError, SwitchyardError } from '../../errors.ts'
import { type Corpus, openCorpus } from '../corpus.ts'
import { CorpusFolder } from '../corpus-folder.ts'
import type { CorpusManifest, SplitName } from '../corpus-manifest.ts'
import { defaultShardTokens, ShardWriter } from '../corpus-writer.ts'
import type { PrepareProgress } from '../prepare.ts'
import { TokenCounter } from '../token-counts.ts'
import type { Tokenizer } from '../tokenizer.ts'
import { makeTokenizer, type TokenizerChoice } from '../tokenizer-choice.ts'
import { type AnsweredText, answeredTexts, type Render } from './answers.ts'
import { encodeAnswered } from './encode.ts'
import { encodePair } from './encode-pair.ts'
import { type FoundRecord, readConversations } from './source.ts'

export interface PrepareConversationsOptions {
  /** Folder of the corpus; made when missing. */
  out: string
  /** Files and folders. */
  paths: readonly string[]
  /** The model's own. */
  tokenizer: TokenizerChoice
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

/**
 * Writes conversations as a corpus and opens it: an example is a document, with a mark at each token that is to be learnt. The same
 * files and seed give the same corpus, a record at a time in memory.
 *
 * @throws FormatError naming the line that is no conversation, or that the template refuses or the tokenizer; nothing is kept then
 */
export async function prepareConversations(options: PrepareConversationsOptions): Promise<Corpus> {
  const { out, paths, validation = 0.05, seed = 1, signal } = options
  const render = options.render ? refusing(options.render) : withoutTemplate
  const onProgress = (fraction: number, text: string): void => {
    signal?.throwIfAborted()
    options.onProgress?.({ stage: 'encode', fraction, text })
  }
  using folder = new CorpusFolder(out, { force: options.force ?? false })
  const tokenizer = await makeTokenizer(options.tokenizer, folder.files, [], signal)
  if (options.template !== undefined)
    writeFileSync(join(folder.files, 'chat_template.jinja'), options.template)
  const splits = new Splits(folder.files, tokenizer, options.apart ? encodePair : encodeAnswered)
  for await (const record of readConversations(paths, onProgress)) {
    signal?.throwIfAborted()
    await inPlace(record, async () => {
      const examples = await written(record, render)
      // All texts of a conversation go the same way: they have messages in common.
      const isHeldOut = fractionOf(`${seed} ${examples[0]?.[0]?.text}`) < validation
      for (const texts of examples) await splits.add(isHeldOut ? 'validation' : 'train', texts, record.domain)
    })
  }
  const shards = await splits.finish(paths)
  folder.install({
    format: 'switchyard-corpus',
    version: 1,
    seed,
    vocabSize: tokenizer.vocabSize,
    ...shards,
    origins: paths.map(name => ({ name: basename(name) })),
    cleaning: {
      replacedCharacters: 0,
      duplicateParagraphs: 0,
      duplicateBytes: 0,
      shortDocuments: 0,
      skippedFiles: 0,
    },
  })
  return openCorpus(out)
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
