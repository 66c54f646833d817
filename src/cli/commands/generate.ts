// `switchyard generate`: text from a model.

import { Command, Option } from 'commander'
import { ConfigError } from '../../errors.ts'
import type { AnyModelConfig, GenerateTextOptions } from '../../models/index.ts'
import { hintsText } from '../fewer-experts.ts'
import { JsonForm, withJsonSchemaOption } from '../json-form.ts'
import {
  aheadNote,
  divideTextFlags,
  expertUseText,
  loadTextModel,
  type TextModelFlags,
  withTextModelOptions,
} from '../load-text-model.ts'
import { openNamed } from '../open-model.ts'
import { drawing, withSamplingOptions } from '../sampling-options.ts'
import { dim, yellow } from '../terminal.ts'
import { timed } from '../timings.ts'
import { numberOf, wholeNumberOf } from '../values.ts'
import { type Asked, type TextEnd, writeBeams, writeSamples } from '../written-text.ts'

type Flags = Omit<GenerateTextOptions, 'task'> &
  TextModelFlags & {
    samples: number
    prompt: string
    task?: string
    beams?: number
    lengthPenalty?: number
    sourceLang?: string
    targetLang?: string
    jsonSchema?: string
    json?: boolean
  }

const help = `
Examples:
  switchyard generate runs/tiny-moe --prompt "func main"
  switchyard generate model --prompt "Once" --temperature 0 --stop "." "!"
  switchyard generate model --prompt "Guten Tag" --beams 4 --target-lang en
  switchyard generate model.gguf --prompt "Once" --memory 2GiB
  switchyard generate model --prompt "Ada:" --json-schema person.json`

export function generateCommand(): Command {
  const command = new Command('generate')
    .description('continue a prompt, token by token')
    .argument('<model>', 'model folder, run folder, .gguf file or downloaded org/name')
    .requiredOption('--prompt <text>', 'text to continue; for an encoder-decoder to answer')
    .option('--max-new-tokens <n>', 'most tokens to add', wholeNumberOf('--max-new-tokens', 1), 128)
  return withTextModelOptions(withJsonSchemaOption(withSamplingOptions(command)))
    .option('--samples <n>', 'so many texts, written together', wholeNumberOf('--samples', 1), 1)
    .option(
      '--logprobs <n>',
      'with --json: the n likeliest tokens at each place',
      wholeNumberOf('--logprobs'),
    )
    .addOption(
      new Option('--beams <n>', 'search for the likeliest text with so many; --json has all')
        .argParser(wholeNumberOf('--beams', 1))
        .conflicts([...drawing, 'samples', 'logprobs', 'stop', 'jsonSchema']),
    )
    .option(
      '--length-penalty <a>',
      'with --beams, log p / length^a counts: above 0 for longer texts (default: 1)',
      numberOf('--length-penalty'),
    )
    .option('--source-lang <name>', "the prompt's language, as the tokenizer calls it")
    .option('--target-lang <name>', 'language to translate into, as en or eng_Latn')
    .option('--task <name>', 'task of the text, for a model whose router goes by tasks')
    .option('--stop <text...>', 'end before any of these texts')
    .option('--json', 'print JSON at the end: the text, its tokens, why it ended')
    .option('--quiet', 'print nothing but the text')
    .addHelpText('after', help)
    .action(run)
}

async function run(
  path: string,
  { prompt, samples, task, beams, lengthPenalty, sourceLang, targetLang, json, jsonSchema, ...flags }: Flags,
): Promise<void> {
  if (lengthPenalty !== undefined && beams === undefined)
    throw new ConfigError('is for a search: give --beams too', { path: '--length-penalty' })
  const { placement, quiet, options } = divideTextFlags(flags)
  const opened = await openNamed(path, { quiet })
  const { config, tokenizer } = opened
  // Before the model is loaded: what is wrong is told at once, and what it takes counts within a budget.
  const form = jsonSchema === undefined ? null : await JsonForm.read(jsonSchema, opened)
  const constraints = form
    ? await Promise.all(Array.from({ length: samples }, () => form.constraint()))
    : undefined
  const context = async (): Promise<number> =>
    (beams ?? samples) * ((await tokenizer.encode(prompt)).length + (options.maxNewTokens ?? 0))
  const { result: loaded, seconds } = await timed(() => loadTextModel(opened, placement, { context, quiet }))
  const number = await taskNumber(config, task)
  const asked = { opened, loaded, loadSeconds: seconds, prompt, json: json === true, quiet }
  const { maxNewTokens, kv } = options
  const languages = {
    ...(sourceLang !== undefined && { source: sourceLang }),
    ...(targetLang !== undefined && { target: targetLang }),
  }
  const search = {
    ...(maxNewTokens !== undefined && { maxNewTokens }),
    ...(lengthPenalty !== undefined && { lengthPenalty }),
    ...{ kv, languages, task: number },
  }
  const end =
    beams === undefined
      ? await writeSamples(asked, samples, { ...options, languages, task: number, constraints })
      : await writeBeams(asked, { beams, ...search })
  if (!quiet) tell(asked, end, form !== null)
}

/** Notes beside the text: what experts were used, and that it ended before its own end. */
function tell({ opened, loaded, json }: Asked, { reason, tokens }: TextEnd, isFormed: boolean): void {
  const note = (text: string): void => void process.stderr.write(`${yellow('note:')} ${text}\n`)
  const { store, hints } = loaded
  if (!json) {
    if (store) process.stderr.write(`${dim(expertUseText(store))}\n`)
    if (hints) process.stderr.write(`${dim(hintsText(hints))}\n`)
    const ahead = store && aheadNote(store)
    if (ahead) note(ahead)
  }
  if (isFormed && reason === 'max-new-tokens')
    note(`ended after ${tokens} tokens, before its form did: raise --max-new-tokens`)
  if (reason === 'positions' && 'max_position_embeddings' in opened.config)
    note(
      `ended after ${tokens} tokens: with the prompt they fill the model's ${opened.config.max_position_embeddings} positions`,
    )
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
