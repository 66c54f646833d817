// `switchyard train`: a recipe, trained.

import { existsSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { commandLine } from '../../command-line.ts'
import { ConfigError, SwitchyardError } from '../../errors.ts'
import { isOutOfSpace } from '../../files.ts'
import type { Recipe } from '../../train/index.ts'
import { Interruption } from '../interruption.ts'
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
--resume needs). Ctrl-C, a hang-up or SIGTERM write a checkpoint and leave, with
exit code 130, 129 or 143.

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
      'override a setting, as steps=200; may be repeated',
      (value, all: string[]) => [...all, value],
      [],
    )
    .option('--resume', 'go on with the run in --out from its newest checkpoint')
    .option('--json', 'print one JSON object per event')
    .option('--quiet', 'print nothing but notes and the result')
    .addHelpText('after', help)
    .action(run)
}

async function run(file: string | undefined, flags: Flags): Promise<void> {
  const { train } = await import('../../train/index.ts')
  const recipe = await readRecipe(file, flags)
  const reporter = new TrainReporter(flags)
  const out = flags.out ?? claimFolder(recipe.name)
  const interruption = new Interruption(() =>
    reporter.note('stopping after this step, with a checkpoint (Ctrl-C again to leave at once)'),
  )
  try {
    const { signal } = interruption
    for await (const event of train(recipe, { out, resume: flags.resume === true, signal })) {
      reporter.show(event)
      if (event.type === 'end' && event.state === 'interrupted') process.exitCode = interruption.exitCode
    }
  } catch (error) {
    throw withRemedy(error, out)
  } finally {
    reporter.close()
    interruption.release()
    if (flags.out === undefined) removeIfEmpty(out)
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

/** Makes a folder that no other run has, even one that starts in the same second. */
function claimFolder(name: string): string {
  const time = new Date().toISOString().slice(0, 19).replaceAll(':', '').replace('T', '-')
  mkdirSync('runs', { recursive: true })
  for (let n = 1; ; n++) {
    const folder = join('runs', `${name}-${time}${n === 1 ? '' : `-${n}`}`)
    try {
      mkdirSync(folder)
      return folder
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
  }
}

/** Of a run that never began. */
function removeIfEmpty(folder: string): void {
  if (existsSync(folder) && readdirSync(folder).length === 0) rmdirSync(folder)
}

/** When the disk is full, what was trained until the last checkpoint is safe. */
function withRemedy(error: unknown, run: string): unknown {
  if (!isOutOfSpace(error)) return error
  const again = existsSync(join(run, 'run.json'))
    ? `go on with '${commandLine()} train --out ${run} --resume'`
    : 'run the command again'
  return new SwitchyardError(`no room to write (${error.code}): free some space and ${again}`, {
    cause: error,
  })
}
