// `switchyard eval`: loss of a model on held-out text, per domain.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import { ConfigError } from '../../errors.ts'
import { evaluationTable, expertLoadTable } from '../evaluation-tables.ts'
import { Progress } from '../progress.ts'
import { numberOf, wholeNumberOf } from '../values.ts'

interface Flags {
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
  return new Command('eval')
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
      "tokens per sequence (default: the model's positions, up to 1024)",
      numberOf('--sequence-length'),
    )
    .option('--json', 'print JSON')
    .option('--quiet', 'no progress')
    .addHelpText('after', help)
    .action(run)
}

async function run(path: string, flags: Flags): Promise<void> {
  const { loadModel } = await import('../../models/index.ts')
  const { openCorpus } = await import('../../data/index.ts')
  const { evaluate, resolveModelFolder, TokenWindows } = await import('../../train/index.ts')
  const folder = resolveModelFolder(path)
  const corpus = openCorpus(flags.data)
  refuseOtherTokenizer(folder, corpus.tokenizerFile)
  const { model, config } = loadModel(folder)
  if (corpus.vocabSize > config.vocab_size) {
    throw new ConfigError(`${corpus.vocabSize} tokens, but the model knows only ${config.vocab_size}`, {
      path: flags.data,
    })
  }
  const windows = new TokenWindows(
    corpus[flags.split],
    flags.sequenceLength ?? Math.min(1024, config.max_position_embeddings),
  )
  const progress = new Progress({ quiet: flags.quiet === true })
  const evaluation = await evaluate(model, windows, {
    domains: corpus.domains,
    batchSize: flags.batchSize,
    batches: flags.batches ?? null,
    onProgress: fraction => progress.update(fraction, 'evaluating'),
  })
  progress.clear()
  const text = `${evaluationTable(evaluation)}${expertLoadTable(evaluation)}`
  process.stdout.write(`${flags.json ? JSON.stringify({ model: folder, ...evaluation }, null, 2) : text}\n`)
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
