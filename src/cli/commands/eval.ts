// `switchyard eval`: loss of a model on held-out text, per domain.

import { Command } from 'commander'
import type { Corpus } from '../../data/index.ts'
import type { ExpertStore } from '../../engine/index.ts'
import { ConfigError } from '../../errors.ts'
import type { CausalLM, OpenedModel, TrainableModel } from '../../models/index.ts'
import type { EvaluateOptions, Evaluation, ModelText, Shift, Translation } from '../../train/index.ts'
import { splitFor, type WindowFlags, windowLength, withWindowOptions } from '../corpus-windows.ts'
import { evaluationTable, expertTables, shiftTable, translationTable } from '../evaluation-tables.ts'
import { hintsText, type ServingFlags, serveOtherwise, withFewerExpertsOptions } from '../fewer-experts.ts'
import {
  type BudgetFlags,
  expertUse,
  expertUseText,
  refuseBudget,
  withBudgetOptions,
} from '../load-text-model.ts'
import { openNamed } from '../open-model.ts'
import { type PlacementFlags, placementOf, withPlacementOptions } from '../placement-options.ts'
import { Progress } from '../progress.ts'
import { numberOf, wholeNumberOf } from '../values.ts'

interface Flags extends PlacementFlags, WindowFlags, ServingFlags, BudgetFlags {
  batches?: number
  batchSize: number
  against?: string
  beams?: number
  lengthPenalty?: number
  json?: boolean
  quiet?: boolean
}

const help = `
Loss is in nats per token; bits per byte compare models of different
tokenizers. For MoE models the expert loads per domain follow.

Of pairs the targets are written, too, and compared by BLEU and chrF2 as
sacrebleu has them (13a, exp): the likeliest token each time, or with --beams by
a search.

With --memory texts are read token by token, as many in step as a batch has, as
they would be written: --batch-size 1 is what a single text meets.

Examples:
  switchyard eval runs/tiny-moe --data data/corpus
  switchyard eval runs/finetuned --data data/corpus --against BASE
  switchyard eval model --data data/corpus --memory 1GiB --on-miss q4_0 \\
    --batch-size 1 --batches 64`

export function evalCommand(): Command {
  const command = new Command('eval')
    .description('loss, perplexity and bits per byte on a corpus, per domain')
    .argument('<model>', 'model folder or run folder')
    .requiredOption('--data <dir>', "corpus made by 'switchyard data prepare'")
  return withFewerExpertsOptions(withBudgetOptions(withPlacementOptions(withWindowOptions(command))))
    .option('--against <model>', 'what it was before: losses by domain and use of experts then and now')
    .option(
      '--beams <n>',
      'of pairs, search for the likeliest target with so many (default: none)',
      wholeNumberOf('--beams', 1),
    )
    .option(
      '--length-penalty <a>',
      'with --beams, log p / length^a counts: above 0 for longer texts (default: 1)',
      numberOf('--length-penalty'),
    )
    .option('--json', 'print JSON')
    .option('--quiet', 'print nothing but the result')
    .addHelpText('after', help)
    .action(run)
}

async function run(path: string, flags: Flags): Promise<void> {
  const placement = placementOf(flags)
  refuseBudget(flags, placement)
  if (flags.lengthPenalty !== undefined && flags.beams === undefined)
    throw new ConfigError('is for a search: give --beams too', { path: '--length-penalty' })
  const { openCorpus } = await import('../../data/index.ts')
  const { modelText, refuseToScore } = await import('../../train/index.ts')
  const opened = await openNamed(path, flags)
  const corpus = openCorpus(flags.data)
  const { config } = opened
  refuseToScore({ corpus, config }, '--data')
  const split = splitFor(opened, corpus, flags)
  const positions = 'max_position_embeddings' in config ? config.max_position_embeddings : Infinity
  const length = windowLength(flags, { max_position_embeddings: positions }, split)
  const within = flags.memory === undefined ? null : await loadWithin(opened, flags, length)
  const model = within?.model ?? opened.load(placement)
  const hints = await serveOtherwise(model, flags, { quiet: true })
  const text = { corpus, windows: modelText(corpus, split.name, { sequenceLength: length, config }) }
  const evaluation = await evaluated(model, text, flags, within?.reading)
  const translation = await translated(model, text, flags)
  const shift = flags.against === undefined ? null : await shiftFrom(flags.against, text, flags, evaluation)
  const use = { ...(within && { experts: expertUse(within.store) }), ...(hints && { hints: hints.counts }) }
  const notes = [...(within ? [expertUseText(within.store)] : []), ...(hints ? [hintsText(hints)] : [])]
  const tables = `${evaluationTable(evaluation)}${expertTables(evaluation, process.stdout.columns ?? 80)}`
  const parts = [
    tables,
    ...(translation ? [translationTable(translation)] : []),
    ...(shift ? [shiftTable(shift, flags.against ?? '')] : []),
    ...notes,
  ]
  const written = translation && { translation }
  const all = { model: opened.path, ...evaluation, ...written, ...use, ...(shift && { shift }) }
  process.stdout.write(`${flags.json ? JSON.stringify(all, null, 2) : parts.join('\n\n')}\n`)
}

interface Text {
  corpus: Corpus
  windows: ModelText
}

async function evaluated(
  model: TrainableModel,
  { corpus, windows }: Text,
  { batchSize, batches, quiet = false }: Flags,
  reading: Partial<Reading> = {},
): Promise<Evaluation> {
  const { evaluate } = await import('../../train/index.ts')
  const progress = new Progress({ quiet })
  const onProgress = (fraction: number): void => progress.update(fraction, 'evaluating')
  try {
    return await evaluate(model, windows, {
      domains: corpus.domains,
      batchSize,
      batches: batches ?? null,
      onProgress,
      ...reading,
    })
  } finally {
    progress.clear()
  }
}

/** What the model writes of pairs; null of other text. */
async function translated(
  model: TrainableModel,
  { corpus, windows }: Text,
  { batchSize, batches, beams, lengthPenalty, quiet = false }: Flags,
): Promise<Translation | null> {
  const { PairRows, translate } = await import('../../train/index.ts')
  const { EncoderDecoderLM } = await import('../../models/index.ts')
  if (!(windows instanceof PairRows && model instanceof EncoderDecoderLM)) {
    if (beams === undefined) return null
    throw new ConfigError('is for encoder-decoders on pairs: leave it out', { path: '--beams' })
  }
  const { loadTokenizer } = await import('../../data/index.ts')
  const progress = new Progress({ quiet })
  try {
    return await translate(model, windows, loadTokenizer(corpus.tokenizerFile), {
      ...{ domains: corpus.domains, batchSize, batches: batches ?? null, beams, lengthPenalty },
      onProgress: fraction => progress.update(fraction, 'writing'),
    })
  } finally {
    progress.clear()
  }
}

/** What has changed since the model was another. */
async function shiftFrom(path: string, text: Text, flags: Flags, after: Evaluation): Promise<Shift> {
  const { shiftBetween } = await import('../../train/index.ts')
  const opened = await openNamed(path, flags)
  if (!('vocab_size' in opened.config) || opened.config.vocab_size < text.corpus.vocabSize)
    throw new ConfigError(`does not know all ${text.corpus.vocabSize} tokens of the corpus`, {
      path: '--against',
    })
  const model = opened.load(placementOf(flags))
  const before = await evaluated(model, text, flags)
  model.dispose()
  return shiftBetween(before, after)
}

interface Within {
  model: CausalLM
  store: ExpertStore
  /** Token by token. */
  reading: Reading
}

type Reading = Required<Pick<EvaluateOptions, 'forward'>>

async function loadWithin(
  { source }: OpenedModel,
  { memory = 0, onMiss, batchSize }: Flags,
  length: number,
): Promise<Within> {
  const { loadTiered } = await import('../../engine/index.ts')
  const { forwardInSteps } = await import('../../models/index.ts')
  const budget = { memory, context: batchSize * length }
  const { model, store } = loadTiered(source, { ...budget, ...(onMiss && { onMiss }) }).tiered
  return { model, store, reading: { forward: ({ inputs }) => forwardInSteps(model, inputs) } }
}
