// `switchyard train` with a command line of fairseq-train: its data as a corpus, its flags as a recipe.

import { createHash } from 'node:crypto'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import type { Corpus, LanguagePair } from '../data/index.ts'
import { ConfigError } from '../errors.ts'
import type { FairseqCommand, Recipe, TrainingData } from '../train/index.ts'
import { Progress } from './progress.ts'
import { dim } from './terminal.ts'
import type { TrainFlags } from './train-shown.ts'

/** Whether arguments are of fairseq-train: it cannot do without an architecture. */
export const isFairseqCommand = (args: readonly string[]): boolean =>
  args.some(arg => /^(--arch(=.*)?|-a)$/s.test(arg))

/** The recipe that a command line comes to; what is to be said of it is said. */
export async function fairseqTraining(
  args: readonly string[],
  { quiet, json, set }: TrainFlags,
): Promise<{ recipe: Recipe; out: string | undefined }> {
  const { fairseqRecipe, idleNotes, parseFairseq, withOverrides } = await import('../train/index.ts')
  const command = parseFairseq(args)
  const isSilent = quiet === true || json === true
  const data = await trainingData(command, isSilent)
  const { settings, notes } = fairseqRecipe(command, data)
  const recipe = withOverrides(settings, set, 'fairseq')
  if (!isSilent)
    for (const note of [...notes, ...idleNotes(command)]) process.stderr.write(`${dim(`fairseq: ${note}`)}\n`)
  return { recipe, out: command.values.get('save-dir') }
}

async function trainingData(command: FairseqCommand, quiet: boolean): Promise<TrainingData> {
  const { openCorpus, isCorpus } = await import('../data/index.ts')
  const { data: folder } = command
  if (!existsSync(folder) || !statSync(folder).isDirectory())
    throw new ConfigError('no such folder: name a data-bin folder, or one of text', { path: folder })
  const pair = await pairOf(command)
  const out = isCorpus(folder) ? folder : placeOf(folder, pair)
  const corpus = isCorpus(out) ? openCorpus(out) : await prepared(out, folder, pair, quiet)
  return { path: out, ...lengthsOf(corpus) }
}

/** Its name, and what it was made of: so that it is made once. */
function placeOf(folder: string, pair: LanguagePair | null): string {
  const hash = createHash('sha256').update(`${resolve(folder)} ${pair?.source} ${pair?.target}`)
  for (const name of readdirSync(folder).sort()) {
    const { size, mtimeMs } = statSync(join(folder, name))
    hash.update(`${name} ${size} ${mtimeMs}`)
  }
  return join('data', `${basename(resolve(folder))}-${hash.digest('hex').slice(0, 8)}`)
}

/** The languages of a translation, from the flags or from the names of files; null for a language model. */
async function pairOf(command: FairseqCommand): Promise<LanguagePair | null> {
  const { isTranslation } = await import('../train/index.ts')
  const { isDataBin, pairOfDataBin } = await import('../data/index.ts')
  if (!isTranslation(command)) return null
  const [source, target] = [command.values.get('source-lang'), command.values.get('target-lang')]
  if (source !== undefined && target !== undefined) return { source, target }
  const found = isDataBin(command.data) ? pairOfDataBin(command.data) : pairOfTexts(command.data)
  if (found) return found
  throw new ConfigError(
    `is missing, and ${command.data} does not tell it: give --source-lang and --target-lang`,
    { path: '--source-lang' },
  )
}

/** Of files `train.SOURCE` and `train.TARGET`, which say no direction, the first in the alphabet into the other. */
function pairOfTexts(folder: string): LanguagePair | null {
  const languages = readdirSync(folder).flatMap(name => /^train\.(\w+)$/.exec(name)?.[1] ?? [])
  const [source, target] = languages.sort()
  return source !== undefined && target !== undefined && languages.length === 2 ? { source, target } : null
}

async function prepared(
  out: string,
  folder: string,
  pair: LanguagePair | null,
  quiet: boolean,
): Promise<Corpus> {
  const data = await import('../data/index.ts')
  if (data.isDataBin(folder)) return data.prepareDataBin({ out, folder, ...(pair && { pair }) })
  const progress = new Progress({ quiet })
  const tokenizer = { kind: 'bpe', vocabSize: 4096 } as const
  const onProgress = ({ fraction, text }: { fraction: number | undefined; text: string }): void =>
    progress.update(fraction, text)
  try {
    if (pair === null)
      return await data.prepareCorpus({
        out,
        source: data.fileSource({ paths: [folder] }),
        tokenizer,
        onProgress,
      })
    const [source, heldOut] = ['train', 'valid'].map(name => {
      const files = [pair.source, pair.target].map(language => join(folder, `${name}.${language}`))
      return files.every(existsSync) ? data.parallelFiles(files, [pair]) : undefined
    })
    if (source === undefined)
      throw new ConfigError(
        `has no train.${pair.source} and train.${pair.target}, nor a dict.txt: name another folder`,
        {
          path: folder,
        },
      )
    return await data.prepareExamples({
      ...{ out, source, tokenizer, onProgress, apart: true },
      ...(heldOut && { heldOut }),
    })
  } finally {
    progress.clear()
  }
}

/** Examples of the training split, and their lengths: of a pair the mean of the longer side, and most of both together. */
function lengthsOf({ manifest, train }: Corpus): Omit<TrainingData, 'path'> {
  const { answers } = manifest
  const documents = manifest.domains.reduce((sum, domain) => sum + domain.train.documents, 0)
  const mean = train.tokens / Math.max(1, documents)
  const target = answers ? answers.tokens / Math.max(1, answers.examples) : mean
  const lengths = train.shards.flatMap(({ documentStarts, tokens }) =>
    documentStarts.map((start, i) => (documentStarts[i + 1] ?? tokens) - start),
  )
  const longest = lengths.reduce((most, length) => Math.max(most, length), 0)
  return { examples: documents, length: Math.max(target, mean - target, 1), longest }
}
