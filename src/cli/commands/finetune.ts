// `switchyard finetune`: a model that is there, trained further.

import { Command } from 'commander'
import { ConfigError } from '../../errors.ts'
import { type TrainFlags, trainShown, withTrainOptions } from '../train-shown.ts'
import { numberOf, wholeNumberOf } from '../values.ts'

interface Flags extends TrainFlags {
  data: string
  train?: string
  epochs?: number
  learningRate?: number
  lora?: number
  on?: string
}

const help = `
PARTS are all, non-moe, moe, feed-forward, attention, router, experts, shared,
dense, norms, embeddings, head, one layer's experts as experts:3, or one expert
as experts:3.0; commas add, a - before one leaves it out. What is not trained
stays as it is, bit for bit.
With --lora the model stays as it is, and adapters around its parts are trained
and saved, as Hugging Face's PEFT has them; 'convert' merges them.
Losses are the model's own (router_aux_loss_coef). The run folder is as that of
'train', which also goes on with it (train --out DIR --resume).

Examples:
  switchyard data prepare --from notes/ --tokenizer MODEL --out data/notes
  switchyard finetune MODEL --data data/notes --out runs/notes
  switchyard finetune MODEL --data data/notes --train=non-moe --set steps=200
  switchyard finetune MODEL --data data/notes --train=-router,-embeddings
  switchyard finetune MODEL --data data/notes --lora 16 --on attention,experts`

export function finetuneCommand(): Command {
  const command = new Command('finetune')
    .description('train a model further, all of it or parts')
    .argument('<model>', 'model folder, run folder, .gguf file or org/name')
    .requiredOption('--data <corpus>', "corpus prepared with the model's tokenizer")
    .option('--train <parts>', 'what is trained (default: all; with --lora: adapters)')
    .option('--lora <rank>', 'train adapters of this rank instead', wholeNumberOf('--lora', 1))
    .option('--on <parts>', 'what adapters are around (default: attention)')
    .option(
      '--epochs <number>',
      'times that the data is seen (default: 1)',
      numberOf('--epochs', { above: 0 }),
    )
    .option(
      '--learning-rate <rate>',
      'peak (default: 2e-5; with --lora: 2e-4)',
      numberOf('--learning-rate', { above: 0 }),
    )
  return withTrainOptions(command).addHelpText('after', help).action(run)
}

async function run(model: string, flags: Flags): Promise<void> {
  const { finetuneRecipe } = await import('../../train/index.ts')
  const { data, epochs, train, lora, on, learningRate = lora ? 2e-4 : undefined, set } = flags
  if (on !== undefined && lora === undefined)
    throw new ConfigError('is for adapters: give --lora too', { path: '--on' })
  const overrides = [
    ...(train === undefined ? [] : [`trained=${JSON.stringify(train)}`]),
    ...(lora === undefined ? [] : [`adapter.rank=${lora}`, `adapter.alpha=${2 * lora}`]),
    ...(on === undefined ? [] : [`adapter.on=${JSON.stringify(on)}`]),
    ...(learningRate === undefined ? [] : [`optimizer.learningRate=${learningRate}`]),
    ...set,
  ]
  const recipe = finetuneRecipe({ model, data, overrides, ...(epochs !== undefined && { epochs }) })
  await trainShown(recipe, flags)
}
