// `switchyard eval`: loss of a model on held-out text, per domain.

import { Command } from 'commander'
import type { ExpertStore } from '../../engine/index.ts'
import { ConfigError } from '../../errors.ts'
import type { CausalLM, OpenedModel } from '../../models/index.ts'
import { splitFor, type WindowFlags, windowLength, withWindowOptions } from '../corpus-windows.ts'
import { evaluationTable, expertTables } from '../evaluation-tables.ts'
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

interface Flags extends PlacementFlags, WindowFlags, ServingFlags, BudgetFlags {
  batches?: number
  batchSize: number
  json?: boolean
  quiet?: boolean
}

const help = `
Loss is in nats per token; bits per byte compare models of different
tokenizers. For MoE models the expert loads per domain follow.

With --memory texts are read token by token, as many in step as a batch has, as
they would be written: --batch-size 1 is what a single text meets.

Examples:
  switchyard eval runs/tiny-moe --data data/corpus
  switchyard eval model --data data/corpus --memory 1GiB --on-miss q4_0 \\
    --batch-size 1 --batches 64`

export function evalCommand(): Command {
  const command = new Command('eval')
    .description('loss, perplexity and bits per byte on a corpus, per domain')
    .argument('<model>', 'model folder or run folder')
    .requiredOption('--data <dir>', "corpus made by 'switchyard data prepare'")
  return withFewerExpertsOptions(withBudgetOptions(withPlacementOptions(withWindowOptions(command))))
    .option('--json', 'print JSON')
    .option('--quiet', 'print nothing but the result')
    .addHelpText('after', help)
    .action(run)
}

async function run(path: string, flags: Flags): Promise<void> {
  const placement = placementOf(flags)
  refuseBudget(flags, placement)
  const { openCorpus } = await import('../../data/index.ts')
  const { evaluate, tasksOfDomains, TokenWindows } = await import('../../train/index.ts')
  const opened = await openNamed(path, flags)
  const corpus = openCorpus(flags.data)
  const split = splitFor(opened, corpus, flags)
  const { config } = opened
  if (!('max_position_embeddings' in config))
    throw new ConfigError('reads one text to write another: only stacks are evaluated', { path: opened.path })
  const length = windowLength(flags, config, split)
  const within = flags.memory === undefined ? null : await loadWithin(opened, flags, length)
  const model = within?.model ?? opened.load({ kind: 'stack', ...placement })
  const hints = await serveOtherwise(model, flags, { quiet: true })
  const windows = new TokenWindows(split, length, tasksOfDomains(config, corpus.domains))
  const progress = new Progress({ quiet: flags.quiet === true })
  const evaluation = await evaluate(model, windows, {
    domains: corpus.domains,
    batchSize: flags.batchSize,
    batches: flags.batches ?? null,
    onProgress: fraction => progress.update(fraction, 'evaluating'),
    ...within?.reading,
  })
  progress.clear()
  const use = { ...(within && { experts: expertUse(within.store) }), ...(hints && { hints: hints.counts }) }
  const notes = [...(within ? [expertUseText(within.store)] : []), ...(hints ? [hintsText(hints)] : [])]
  const tables = `${evaluationTable(evaluation)}${expertTables(evaluation, process.stdout.columns ?? 80)}`
  const text = [tables, ...notes].join('\n\n')
  process.stdout.write(
    `${flags.json ? JSON.stringify({ model: opened.path, ...evaluation, ...use }, null, 2) : text}\n`,
  )
}

interface Within {
  model: CausalLM
  store: ExpertStore
  /** Token by token. */
  reading: Pick<NonNullable<Parameters<typeof import('../../train/index.ts').evaluate>[2]>, 'forward'>
}

async function loadWithin(
  { source }: OpenedModel,
  { memory = 0, onMiss, batchSize }: Flags,
  length: number,
): Promise<Within> {
  const { loadTiered } = await import('../../engine/index.ts')
  const { forwardInSteps } = await import('../../models/index.ts')
  const budget = { memory, context: batchSize * length }
  const { model, store } = loadTiered(source, { ...budget, ...(onMiss && { onMiss }) }).tiered
  return { model, store, reading: { forward: inputs => forwardInSteps(model, inputs) } }
}
