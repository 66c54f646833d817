// `switchyard generate`: text from a model.

import { join } from 'node:path'
import { Command } from 'commander'
import type { GenerateTextOptions } from '../../models/index.ts'
import { bold } from '../terminal.ts'
import { numberOf, wholeNumberOf } from '../values.ts'

type Flags = GenerateTextOptions & { prompt: string; json?: boolean }

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
    .option('--temperature <t>', '0 takes the likeliest token', numberOf('--temperature'), 0.8)
    .option('--top-k <k>', 'only the k likeliest tokens; 0: all', wholeNumberOf('--top-k'), 0)
    .option('--top-p <p>', 'only the likeliest tokens that make up p', numberOf('--top-p'), 1)
    .option('--min-p <p>', 'no token less likely than p times the likeliest', numberOf('--min-p'), 0)
    .option(
      '--repetition-penalty <x>',
      'above 1: used tokens become less likely',
      numberOf('--repetition-penalty'),
      1,
    )
    .option('--seed <n>', 'the same seed gives the same text', wholeNumberOf('--seed'), 0)
    .option('--stop <text...>', 'end before any of these texts')
    .option('--json', 'print JSON at the end instead of text as it comes')
    .addHelpText('after', help)
    .action(run)
}

async function run(path: string, { prompt, json, ...options }: Flags): Promise<void> {
  const { generateText, loadModel } = await import('../../models/index.ts')
  const { loadTokenizer } = await import('../../data/index.ts')
  const { resolveModelFolder } = await import('../../train/index.ts')
  const folder = resolveModelFolder(path)
  const tokenizer = loadTokenizer(join(folder, 'tokenizer.json'))
  const { model } = loadModel(folder)
  if (!json) process.stdout.write(bold(prompt))
  let text = ''
  for await (const piece of generateText(model, tokenizer, prompt, options)) {
    text += piece
    if (!json) process.stdout.write(piece)
  }
  process.stdout.write(json ? `${JSON.stringify({ model: folder, prompt, text, options }, null, 2)}\n` : '\n')
}
