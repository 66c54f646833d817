// `switchyard generate`: text from a model.

import { Command } from 'commander'
import { ConfigError } from '../../errors.ts'
import type { AnyModelConfig, GenerateTextOptions, SearchTextsOptions } from '../../models/index.ts'
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
import { withSamplingOptions } from '../sampling-options.ts'
import { type SearchFlags, searchOf, withSearchOptions } from '../search-options.ts'
import { dim, yellow } from '../terminal.ts'
import { timed } from '../timings.ts'
import { wholeNumberOf } from '../values.ts'
import { type Asked, type TextEnd, writeFound, writeSamples } from '../written-text.ts'

type Flags = Omit<GenerateTextOptions, 'task'> &
  TextModelFlags &
  SearchFlags & {
    samples: number
    prompt: string
    task?: string
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
  const drawn = withTextModelOptions(withJsonSchemaOption(withSamplingOptions(command)))
    .option('--samples <n>', 'so many texts, written together', wholeNumberOf('--samples', 1), 1)
    .option(
      '--logprobs <n>',
      'with --json: the n likeliest tokens at each place',
      wholeNumberOf('--logprobs'),
    )
  return withSearchOptions(drawn)
    .option('--source-lang <name>', "the prompt's language, as the tokenizer calls it")
    .option('--target-lang <name>', 'language to translate into, as en or eng_Latn')
    .option('--task <name>', 'task of the text, for a model whose router goes by tasks')
    .option('--stop <text...>', 'end before any of these texts')
    .option('--json', 'print JSON at the end: the text, its tokens, why it ended')
    .option('--quiet', 'print nothing but the text')
    .addHelpText('after', help)
    .action(run)
}

async function run(path: string, flags: Flags): Promise<void> {
  const { beams, lengthPenalty, contrastive, candidates, ...drawn } = flags
  const search = searchOf(flags)
  const { prompt, samples, task, sourceLang, targetLang, json, jsonSchema, ...others } = drawn
  const { placement, quiet, options } = divideTextFlags(others)
  const opened = await openNamed(path, { quiet })
  const { config, tokenizer } = opened
  // Before the model is loaded: what is wrong is told at once, and what it takes counts within a budget.
  const form = jsonSchema === undefined ? null : await JsonForm.read(jsonSchema, opened)
  const constraints = form
    ? await Promise.all(Array.from({ length: samples }, () => form.constraint()))
    : undefined
  const context = async (): Promise<number> =>
    (search?.texts ?? samples) * ((await tokenizer.encode(prompt)).length + (options.maxNewTokens ?? 0))
  const { result: loaded, seconds } = await timed(() => loadTextModel(opened, placement, { context, quiet }))
  const number = await taskNumber(config, task)
  const asked = { opened, loaded, loadSeconds: seconds, prompt, json: json === true, quiet }
  const languages = {
    ...(sourceLang !== undefined && { source: sourceLang }),
    ...(targetLang !== undefined && { target: targetLang }),
  }
  const end = search
    ? await writeFound(asked, search, commonOf(options, { languages, task: number }))
    : await writeSamples(asked, samples, { ...options, languages, task: number, constraints })
  if (!quiet) tell(asked, end, form !== null)
}

/** What searches take of the options of texts. */
const commonOf = (
  { maxNewTokens, kv }: Pick<GenerateTextOptions, 'maxNewTokens' | 'kv'>,
  more: Pick<SearchTextsOptions, 'languages' | 'task'>,
): SearchTextsOptions => ({ ...(maxNewTokens !== undefined && { maxNewTokens }), kv, ...more })

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
