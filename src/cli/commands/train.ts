// `switchyard train`: a recipe, trained.

import { Command } from 'commander'
import { ConfigError } from '../../errors.ts'
import type { Recipe } from '../../train/index.ts'
import { TrainReporter } from '../train-reporter.ts'

interface Flags {
  out?: string
  set: string[]
  resume?: boolean
  json?: boolean
  quiet?: boolean
}

const help = `
Everything is written under --out: recipe.yaml (complete), metrics.jsonl,
TensorBoard events, checkpoints/ (each a Hugging Face model folder and all that
--resume needs). Ctrl-C writes a checkpoint and leaves.

Examples:
  switchyard data prepare --sample --out data/corpus
  switchyard train recipes/tiny-moe.yaml --set steps=200 --set router.k=4
  switchyard train --out runs/tiny-moe --resume --set steps=4000`

export function trainCommand(): Command {
  return new Command('train')
    .description('train a model from a recipe')
    .argument('[recipe]', 'YAML file (with --resume: default the recipe of the run)')
    .option('--out <dir>', 'run folder (default: runs/<recipe>-<time>)')
    .option(
      '--set <path=value>',
      'override a setting; may be repeated',
      (value, all: string[]) => [...all, value],
      [],
    )
    .option('--resume', 'go on with the run in --out from its newest checkpoint')
    .option('--json', 'print one JSON object per event')
    .option('--quiet', 'print nothing but errors and the result')
    .addHelpText('after', help)
    .action(run)
}

async function run(file: string | undefined, flags: Flags): Promise<void> {
  const { train } = await import('../../train/index.ts')
  const recipe = await readRecipe(file, flags)
  const out = flags.out ?? `runs/${recipe.name}-${timestamp()}`
  const reporter = new TrainReporter(flags)
  const stop = abortOnInterrupt(reporter)
  try {
    for await (const event of train(recipe, { out, resume: flags.resume === true, signal: stop.signal })) {
      reporter.show(event)
    }
  } finally {
    reporter.close()
    stop.release()
  }
}

async function readRecipe(file: string | undefined, { out, resume, set }: Flags): Promise<Recipe> {
  const { loadRecipe, RunFolder } = await import('../../train/index.ts')
  if (resume && out === undefined)
    throw new ConfigError('needs --out, the folder of the run', { path: '--resume' })
  if (resume && out !== undefined) RunFolder.refuseMissing(out)
  if (file === undefined && !resume)
    throw new ConfigError('is missing; see recipes/ for examples', { path: 'recipe' })
  return loadRecipe(file ?? `${out}/recipe.yaml`, set)
}

const timestamp = (): string => new Date().toISOString().slice(0, 19).replaceAll(':', '').replace('T', '-')

/** The first Ctrl-C ends the run after its step; the second one ends the process. */
function abortOnInterrupt(reporter: TrainReporter): { signal: AbortSignal; release: () => void } {
  const controller = new AbortController()
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(130)
    reporter.note('stopping after this step, with a checkpoint (Ctrl-C again to leave at once)')
    controller.abort()
  }
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt)
  return {
    signal: controller.signal,
    release: () => void process.off('SIGINT', interrupt).off('SIGTERM', interrupt),
  }
}
