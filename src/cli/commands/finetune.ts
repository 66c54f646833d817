// `switchyard finetune`: a model that is there, trained further.

import { Command, Option } from 'commander'
import { ConfigError } from '../../errors.ts'
import { openNamed } from '../open-model.ts'
import { Progress } from '../progress.ts'
import { type TrainFlags, trainShown, withTrainOptions } from '../train-shown.ts'
import { numberOf, wholeNumberOf } from '../values.ts'
import { skippedLines } from './data-report.ts'

interface Flags extends TrainFlags {
  data: string[]
  train?: string
  validation?: number
  chatTemplate?: string
  epochs?: number
  learningRate?: number
  lora?: number
  adapter?: string
  on?: string
  stored?: boolean
}

const help = `
Lines of JSONL and rows of Parquet are 'messages' as OpenAI has them (with
'tools'), 'conversations' as ShareGPT, 'prompt' and 'completion', or 'text'; .gz
and .zst too. The model's chat template writes them, and what the assistant says
is learnt. Pairs, 'prompt' with 'chosen' and 'rejected', teach which of two is
preferred (DPO). Encoder-decoders learn 'source' and 'target', or 'translation'.
Other files are text, learnt whole, by encoder-decoders as spans to fill in. All
are prepared once, in data/.

PARTS are all, non-moe, moe, feed-forward, attention, router, experts, shared,
dense, norms, embeddings, head, one layer's experts as experts:3, or one expert
as experts:3.0; commas add, a - before one leaves it out. What is not trained
stays as it is, bit for bit.
With --lora the model stays as it is, and adapters around its parts are trained
and saved, as Hugging Face's PEFT has them; 'convert' merges them. --adapter has
mixtures of adapters, of which each token has its own and which stay apart:
mixlora makes low-rank experts of dense feed-forwards, two a token; molora and
mov weigh low-rank sums, or vectors, of linear layers (--set adapter.experts=8).
Losses are the model's own (router_aux_loss_coef). The run folder is as that of
'train', which also goes on with it (train --out DIR --resume).

Examples:
  switchyard finetune MODEL --data chats.jsonl --out runs/chats
  switchyard finetune MODEL --data notes/ --train=non-moe --set steps=200
  switchyard finetune MODEL --data notes/ --train=-router,-embeddings
  switchyard finetune MODEL --data chats.jsonl --lora 16 --on attention,experts
  switchyard finetune MISTRAL --data chats.jsonl --adapter mixlora
  switchyard finetune model-q4_k.gguf --data chats.jsonl --lora 8 --stored`

export function finetuneCommand(): Command {
  const command = new Command('finetune')
    .description('train a model further, all of it or parts')
    .argument('<model>', 'model folder, run folder, .gguf file or org/name')
    .requiredOption('--data <path...>', 'conversations (JSONL, Parquet), text, or a corpus')
    .option(
      '--validation <share>',
      'of files, to hold out (default: 0.05 of examples, 0.02 of text)',
      numberOf('--validation', { least: 0, most: 0.5 }),
    )
    .option(
      '--chat-template <how>',
      "plain, or a file of Jinja, which the result has (default: the model's own)",
    )
    .option('--train <parts>', 'what is trained (default: all; of adapters: these)')
    .option('--lora <rank>', 'train adapters of this rank instead', wholeNumberOf('--lora', 1))
    .addOption(
      new Option('--adapter <kind>', 'adapters of another kind (default: lora)').choices([
        'lora',
        'mixlora',
        'molora',
        'mov',
      ]),
    )
    .option('--on <parts>', 'what they are around (default: attention, and what the kind is for)')
    .option('--stored', 'with adapters: weights stay as the file has them, quantized or not')
    .option(
      '--epochs <number>',
      'times that the data is seen (default: 1)',
      numberOf('--epochs', { above: 0 }),
    )
    .option(
      '--learning-rate <rate>',
      'peak (default: 2e-5; of adapters: 2e-4; of pairs: a 20th)',
      numberOf('--learning-rate', { above: 0 }),
    )
  return withTrainOptions(command).addHelpText('after', help).action(run)
}

async function run(model: string, flags: Flags, command: Command): Promise<void> {
  const { finetuneRecipe } = await import('../../train/index.ts')
  const { data: paths, epochs, train, lora, adapter, on, stored, learningRate, set } = flags
  const hasAdapter = lora !== undefined || adapter !== undefined
  if (on !== undefined && !hasAdapter)
    throw new ConfigError('is for adapters: give --lora or --adapter too', { path: '--on' })
  if (stored && !hasAdapter)
    throw new ConfigError(
      'is for adapters, as stored weights cannot be trained: give --lora or --adapter too',
      {
        path: '--stored',
      },
    )
  const overrides = [
    ...(train === undefined ? [] : [`trained=${JSON.stringify(train)}`]),
    ...(lora === undefined ? [] : [`adapter.rank=${lora}`, `adapter.alpha=${2 * lora}`]),
    ...(adapter === undefined ? [] : [`adapter.kind=${adapter}`]),
    ...(stored ? ['model.weights=stored'] : []),
    ...(on === undefined ? [] : [`adapter.on=${JSON.stringify(on)}`]),
    ...(learningRate === undefined ? [] : [`optimizer.learningRate=${learningRate}`]),
    ...set,
  ]
  const data = await corpusFor(model, paths, flags)
  const recipe = finetuneRecipe({ model, data, overrides, ...(epochs !== undefined && { epochs }) })
  await trainShown(recipe, flags, command)
}

/** The corpus that is named, or the one that files come to. */
async function corpusFor(
  model: string,
  paths: readonly string[],
  { quiet, json, validation, chatTemplate }: Flags,
): Promise<string> {
  const { isCorpus } = await import('../../data/index.ts')
  const [only] = paths
  if (only !== undefined && paths.length === 1 && isCorpus(only)) return only
  const opened = await openNamed(model, { quiet: true })
  const { placeOfData, prepareForModel } = await import('../model-data.ts')
  const options = {
    paths,
    ...(validation !== undefined && { validation }),
    ...(chatTemplate !== undefined && { chatTemplate }),
  }
  const out = await placeOfData(opened, options)
  if (isCorpus(out)) return out
  const progress = new Progress({ quiet: quiet === true || json === true })
  try {
    const { skipped } = await prepareForModel(opened, {
      ...{ out, ...options },
      onProgress: step => progress.update(step.fraction, step.text),
    })
    for (const line of skippedLines(skipped)) progress.line(line)
  } finally {
    progress.clear()
  }
  return out
}
