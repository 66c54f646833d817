// `switchyard eval`: loss of a model on held-out text, per domain.

import { Command } from 'commander'
import type { FewerExperts } from '../../moe/index.ts'
import { splitFor, type WindowFlags, windowLength, withWindowOptions } from '../corpus-windows.ts'
import { evaluationTable, expertTables } from '../evaluation-tables.ts'
import { serveFewerOf, withFewerExpertsOptions } from '../fewer-experts.ts'
import { openNamed } from '../open-model.ts'
import { type PlacementFlags, placementOf, withPlacementOptions } from '../placement-options.ts'
import { Progress } from '../progress.ts'

interface Flags extends PlacementFlags, WindowFlags, FewerExperts {
  batches?: number
  batchSize: number
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
  return withFewerExpertsOptions(withPlacementOptions(withWindowOptions(command)))
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
  const split = splitFor(opened, corpus, flags)
  const model = opened.load({ kind: 'stack', ...placement })
  await serveFewerOf(model, flags, { quiet: true })
  const tasks = tasksOfDomains(opened.config, corpus.domains)
  const windows = new TokenWindows(split, windowLength(flags, model.config, split), tasks)
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
