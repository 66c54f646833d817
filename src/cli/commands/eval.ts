// `switchyard eval`: loss of a model on held-out text, per domain.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import type { CorpusSplit } from '../../data/index.ts'
import { ConfigError } from '../../errors.ts'
import type { DecoderConfig } from '../../models/index.ts'
import { evaluationTable, expertTables } from '../evaluation-tables.ts'
import { openNamed } from '../open-model.ts'
import { type PlacementFlags, placementOf, withPlacementOptions } from '../placement-options.ts'
import { Progress } from '../progress.ts'
import { wholeNumberOf } from '../values.ts'

interface Flags extends PlacementFlags {
  data: string
  split: 'train' | 'validation'
  batches?: number
  batchSize: number
  sequenceLength?: number
  json?: boolean
  quiet?: boolean
}

const help = `
Loss is in nats per token; bits per byte compare models of different
tokenizers. For MoE models the expert loads per domain follow.

Example:
  switchyard eval runs/tiny-moe --data data/corpus`

export function evalCommand(): Command {
  const command = new Command('eval')
    .description('loss, perplexity and bits per byte on a corpus, per domain')
    .argument('<model>', 'model folder or run folder')
    .requiredOption('--data <dir>', "corpus made by 'switchyard data prepare'")
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
      "tokens per sequence (default: the model's positions, at most 1024)",
      wholeNumberOf('--sequence-length', 1),
    )
  return withPlacementOptions(command)
    .option('--json', 'print JSON')
    .option('--quiet', 'print nothing but the result')
    .addHelpText('after', help)
    .action(run)
}

async function run(path: string, flags: Flags): Promise<void> {
  const placement = placementOf(flags)
  const { openCorpus } = await import('../../data/index.ts')
  const { evaluate, tasksOfDomains, TokenWindows } = await import('../../train/index.ts')
  const opened = await openNamed(path, flags)
  const corpus = openCorpus(flags.data)
  refuseOtherTokenizer(opened.path, corpus.tokenizerFile)
  const model = opened.load({ kind: 'stack', ...placement })
  const { config } = model
  if (corpus.vocabSize > config.vocab_size) {
    throw new ConfigError(`${corpus.vocabSize} tokens, but the model knows only ${config.vocab_size}`, {
      path: flags.data,
    })
  }
  const split = corpus[flags.split]
  const tasks = tasksOfDomains(opened.config, corpus.domains)
  const windows = new TokenWindows(split, sequenceLength(flags, config, split), tasks)
  const progress = new Progress({ quiet: flags.quiet === true })
  const evaluation = await evaluate(model, windows, {
    domains: corpus.domains,
    batchSize: flags.batchSize,
    batches: flags.batches ?? null,
    onProgress: fraction => progress.update(fraction, 'evaluating'),
  })
  progress.clear()
  const text = `${evaluationTable(evaluation)}${expertTables(evaluation, process.stdout.columns ?? 80)}`
  process.stdout.write(
    `${flags.json ? JSON.stringify({ model: opened.path, ...evaluation }, null, 2) : text}\n`,
  )
}

function sequenceLength(flags: Flags, config: DecoderConfig, { name, tokens }: CorpusSplit): number {
  const positions = config.max_position_embeddings
  const length = flags.sequenceLength ?? Math.min(1024, positions, tokens - 1)
  const refuse = (problem: string): never => {
    throw new ConfigError(problem, { path: '--sequence-length' })
  }
  if (length < 1)
    refuse(`the ${name} split of ${flags.data} holds no text: prepare more, or take another --split`)
  if (length > positions) refuse(`${length} exceeds the model's ${positions} positions`)
  if (length >= tokens) refuse(`${length} leaves no window in the ${tokens} tokens of the ${name} split`)
  return length
}

/** Ids of another tokenizer would be scored as if they meant the same. */
function refuseOtherTokenizer(folder: string, corpusTokenizer: string): void {
  const own = join(folder, 'tokenizer.json')
  if (!existsSync(own) || readFileSync(own).equals(readFileSync(corpusTokenizer))) return
  throw new ConfigError(
    `${own} and ${corpusTokenizer} differ: prepare the text again with --tokenizer ${own}`,
    { path: '--data' },
  )
}
