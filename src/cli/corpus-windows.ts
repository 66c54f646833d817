// Windows of a corpus for a model that reads them: the options, and what does not go together.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, Option } from 'commander'
import type { Corpus, CorpusSplit, SplitName } from '../data/index.ts'
import { ConfigError } from '../errors.ts'
import type { DecoderConfig } from '../models/index.ts'
import { wholeNumberOf } from './values.ts'

export interface WindowFlags {
  data: string
  split: SplitName
  sequenceLength?: number
}

/** Adds --split, --batches, --batch-size and --sequence-length. */
export function withWindowOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--split <name>', 'part of the corpus')
        .choices(['train', 'validation'])
        .default('validation'),
    )
    .option(
      '--batches <n>',
      'only so many batches, spread evenly (default: all)',
      wholeNumberOf('--batches', 1),
    )
    .option('--batch-size <n>', 'sequences per batch', wholeNumberOf('--batch-size', 1), 8)
    .option(
      '--sequence-length <n>',
      `tokens per sequence (default: the model's positions, at most ${defaultLength})`,
      wholeNumberOf('--sequence-length', 1),
    )
}

/** The split of a corpus whose tokens mean the same to the model. */
export function splitFor(
  model: { path: string; config: Pick<DecoderConfig, 'vocab_size'> },
  corpus: Corpus,
  { data, split }: WindowFlags,
): CorpusSplit {
  refuseOtherTokenizer(model.path, corpus.tokenizerFile)
  const { vocab_size } = model.config
  if (corpus.vocabSize > vocab_size) {
    throw new ConfigError(`${corpus.vocabSize} tokens, but the model knows only ${vocab_size}`, {
      path: data,
    })
  }
  return corpus[split]
}

/** Tokens of a window: what is asked for, or what model and split allow. */
export function windowLength(
  flags: WindowFlags,
  { max_position_embeddings: positions }: Pick<DecoderConfig, 'max_position_embeddings'>,
  { name, tokens }: CorpusSplit,
): number {
  const length = flags.sequenceLength ?? Math.min(defaultLength, positions, tokens - 1)
  const refuse = (problem: string): never => {
    throw new ConfigError(problem, { path: '--sequence-length' })
  }
  if (length < 1)
    refuse(`the ${name} split of ${flags.data} holds no text: prepare more, or take another --split`)
  if (length > positions) refuse(`${length} exceeds the model's ${positions} positions`)
  if (length >= tokens) refuse(`${length} leaves no window in the ${tokens} tokens of the ${name} split`)
  return length
}

/** Tokens of a window where none are asked for, if the model has the positions. */
export const defaultLength = 1024

/** Ids of another tokenizer would be scored as if they meant the same. */
function refuseOtherTokenizer(folder: string, corpusTokenizer: string): void {
  const own = join(folder, 'tokenizer.json')
  if (!existsSync(own) || readFileSync(own).equals(readFileSync(corpusTokenizer))) return
  throw new ConfigError(
    `${own} and ${corpusTokenizer} differ: prepare the text again with --tokenizer ${own}`,
    { path: '--data' },
  )
}
