// `switchyard train`: a recipe, trained.

import { Command } from 'commander'
import { ConfigError } from '../../errors.ts'
import type { Recipe } from '../../train/index.ts'
import { fairseqTraining, isFairseqCommand } from '../fairseq-train.ts'
import { type TrainFlags, trainShown, withTrainOptions } from '../train-shown.ts'

const help = `
Everything is written under --out: recipe.yaml (complete), metrics.jsonl,
TensorBoard events, checkpoints/ (each a Hugging Face model folder and all that
--resume needs). Ctrl-C, a hang-up or SIGTERM write a checkpoint and leave, with
exit code 130, 129 or 143.

A command line of fairseq-train (with its branch moe) is taken as it is: it
becomes a recipe, which the run folder has. DATA is a data-bin folder, or one of
text (train.en, train.de line by line). --set, --out, --json and --quiet are
taken beside it; see docs/recipes.md for its flags.

Examples:
  switchyard data prepare --sample --out data/corpus
  switchyard train recipes/tiny-moe.yaml --set steps=200 --set router.k=4
  switchyard train --out runs/tiny-moe --resume --set steps=4000
  switchyard train --arch transformer --task translation --moe-expert-count 8 \\
    --moe-freq 2 --max-tokens 2048 --max-update 500 data-bin`

export function trainCommand(): Command {
  const command = new Command('train')
    .description('train a model from a recipe')
    .argument('[recipe]', 'YAML file (with --resume: default the recipe of the run)')
  const isFairseq = isFairseqCommand(process.argv)
  return withTrainOptions(command)
    .allowUnknownOption(isFairseq)
    .allowExcessArguments(isFairseq)
    .addHelpText('after', help)
    .action(isFairseq ? runFairseq : run)
}

async function run(file: string | undefined, flags: TrainFlags, command: Command): Promise<void> {
  await trainShown(await readRecipe(file, flags), flags, command)
}

async function runFairseq(_: string | undefined, flags: TrainFlags, command: Command): Promise<void> {
  if (flags.resume)
    throw new ConfigError('goes on with the recipe of a run: leave the flags of fairseq out', {
      path: '--resume',
    })
  const { recipe, out } = await fairseqTraining(command.args, flags)
  await trainShown(
    recipe,
    { ...flags, ...(flags.out === undefined && out !== undefined && { out }) },
    command,
  )
}

async function readRecipe(file: string | undefined, { out, resume, set }: TrainFlags): Promise<Recipe> {
  const { loadRecipe, RunFolder } = await import('../../train/index.ts')
  if (resume && out === undefined)
    throw new ConfigError('needs --out, the folder of the run', { path: '--resume' })
  if (resume && out !== undefined) RunFolder.refuseMissing(out)
  if (file === undefined && !resume)
    throw new ConfigError('is missing; see recipes/ for examples', { path: 'recipe' })
  return loadRecipe(file ?? `${out}/recipe.yaml`, set)
}
