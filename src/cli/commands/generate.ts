// `switchyard generate`: text from a model.

import { join } from 'node:path'
import { Command } from 'commander'
import { ConfigError } from '../../errors.ts'
import type { AnyModelConfig, GenerateTextOptions } from '../../models/index.ts'
import { findModel } from '../model-folder.ts'
import { bold, yellow } from '../terminal.ts'
import { numberOf, wholeNumberOf } from '../values.ts'

type Flags = Omit<GenerateTextOptions, 'task'> & {
  prompt: string
  task?: string
  json?: boolean
  quiet?: boolean
}

const help = `
Examples:
  switchyard generate runs/tiny-moe --prompt "func main"
  switchyard generate model --prompt "Once" --temperature 0 --stop "." "!"`

export function generateCommand(): Command {
  return new Command('generate')
    .description('continue a prompt, token by token')
    .argument('<model>', 'model folder or run folder, with its tokenizer.json')
    .requiredOption('--prompt <text>', 'text to continue')
    .option('--max-new-tokens <n>', 'most tokens to add', wholeNumberOf('--max-new-tokens', 1), 128)
    .option('--temperature <t>', '0 takes the likeliest token', numberOf('--temperature', { least: 0 }), 0.8)
    .option('--top-k <k>', 'only the k likeliest tokens; 0: all', wholeNumberOf('--top-k'), 0)
    .option(
      '--top-p <p>',
      'only the likeliest tokens that make up p',
      numberOf('--top-p', { above: 0, most: 1 }),
      1,
    )
    .option(
      '--min-p <p>',
      'no token less likely than p times the likeliest',
      numberOf('--min-p', { least: 0, most: 1 }),
      0,
    )
    .option(
      '--repetition-penalty <x>',
      'above 1: used tokens become less likely',
      numberOf('--repetition-penalty', { above: 0 }),
      1,
    )
    .option('--seed <n>', 'the same seed gives the same text', wholeNumberOf('--seed'), 0)
    .option('--task <name>', 'task of the text, for a model whose router goes by tasks')
    .option('--stop <text...>', 'end before any of these texts')
    .option('--json', 'print JSON at the end: the text, its tokens, why it ended')
    .option('--quiet', 'print nothing but the text')
    .addHelpText('after', help)
    .action(run)
}

async function run(path: string, { prompt, task, json, quiet = false, ...options }: Flags): Promise<void> {
  const { generateText, loadModel } = await import('../../models/index.ts')
  const { loadTokenizer } = await import('../../data/index.ts')
  const folder = await findModel(path, { quiet })
  const tokenizer = loadTokenizer(join(folder, 'tokenizer.json'))
  const { model, config } = loadModel(folder)
  const number = await taskNumber(config, task)
  const pieces = generateText(model, tokenizer, prompt, {
    ...options,
    ...(number !== undefined && { task: number }),
  })
  let next = await pieces.next() // refuses a prompt that does not fit before anything is shown
  if (!json) process.stdout.write(bold(prompt))
  let text = ''
  for (; !next.done; next = await pieces.next()) {
    text += next.value
    if (!json) process.stdout.write(next.value)
  }
  const { tokens, reason } = next.value
  const result = { model: folder, prompt, text, tokens, reason, options }
  process.stdout.write(json ? `${JSON.stringify(result, null, 2)}\n` : '\n')
  if (reason === 'positions' && !quiet) {
    const { max_position_embeddings: positions } = config
    process.stderr.write(
      `${yellow('note:')} ended after ${tokens} tokens: with the prompt they fill the model's ${positions} positions\n`,
    )
  }
}

async function taskNumber(config: AnyModelConfig, task: string | undefined): Promise<number | undefined> {
  const { tasksOfDomains, taskNames } = await import('../../train/index.ts')
  const names = taskNames(config)
  if (names !== null && task === undefined) {
    throw new ConfigError(`is missing: the router goes by tasks, one of ${names.join(', ')}`, {
      path: '--task',
    })
  }
  if (names === null && task !== undefined) {
    throw new ConfigError("the model's router goes by no tasks; leave it out", { path: '--task' })
  }
  return task === undefined ? undefined : tasksOfDomains(config, [task])?.[0]
}
