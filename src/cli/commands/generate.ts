// `switchyard generate`: text from a model.

import { Command } from 'commander'
import { ConfigError } from '../../errors.ts'
import type { AnyModelConfig, GenerateTextOptions, GenerationEnd } from '../../models/index.ts'
import { hintsText } from '../fewer-experts.ts'
import { JsonForm, withJsonSchemaOption } from '../json-form.ts'
import {
  aheadNote,
  divideTextFlags,
  expertUse,
  expertUseText,
  loadTextModel,
  type TextModelFlags,
  withTextModelOptions,
} from '../load-text-model.ts'
import { openNamed } from '../open-model.ts'
import { withSamplingOptions } from '../sampling-options.ts'
import { bold, dim, yellow } from '../terminal.ts'
import { timed, timingsOf, timingsText } from '../timings.ts'
import { wholeNumberOf } from '../values.ts'

type Flags = Omit<GenerateTextOptions, 'task'> &
  TextModelFlags & {
    samples: number
    prompt: string
    task?: string
    jsonSchema?: string
    json?: boolean
  }

const help = `
Examples:
  switchyard generate runs/tiny-moe --prompt "func main"
  switchyard generate model --prompt "Once" --temperature 0 --stop "." "!"
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
    .option('--task <name>', 'task of the text, for a model whose router goes by tasks')
    .option('--stop <text...>', 'end before any of these texts')
    .option('--json', 'print JSON at the end: the text, its tokens, why it ended')
    .option('--quiet', 'print nothing but the text')
    .addHelpText('after', help)
    .action(run)
}

async function run(
  path: string,
  { prompt, samples, task, json, jsonSchema, ...flags }: Flags,
): Promise<void> {
  const { placement, quiet, options } = divideTextFlags(flags)
  const { generateTexts } = await import('../../models/index.ts')
  const opened = await openNamed(path, { quiet })
  const { config, tokenizer } = opened
  // Before the model is loaded: what is wrong is told at once, and what it takes counts within a budget.
  const form = jsonSchema === undefined ? null : await JsonForm.read(jsonSchema, opened)
  const constraints = form
    ? await Promise.all(Array.from({ length: samples }, () => form.constraint()))
    : undefined
  const context = async (): Promise<number> =>
    samples * ((await tokenizer.encode(prompt)).length + (options.maxNewTokens ?? 0))
  const { result, seconds } = await timed(() => loadTextModel(opened, placement, { context, quiet }))
  const { model, store, hints, remember } = result
  const number = await taskNumber(config, task)
  const pieces = generateTexts(model, tokenizer, new Array<string>(samples).fill(prompt), {
    ...options,
    ...(number !== undefined && { task: number }),
    constraints,
  })
  const isStreamed = !json && samples === 1
  const texts = new Array<string>(samples).fill('')
  let next = await pieces.next() // refuses a prompt that does not fit before anything is shown
  if (isStreamed) process.stdout.write(bold(prompt))
  for (; !next.done; next = await pieces.next()) {
    const { text, piece } = next.value
    texts[text] += piece
    if (isStreamed) process.stdout.write(piece)
  }
  const ends = next.value
  await remember()
  const results = ends.map(({ timings: _, ...end }, i) => ({ text: texts[i] ?? '', ...end }))
  const [end] = ends as [GenerationEnd]
  const timings = timingsOf(seconds, end.timings)
  if (json) {
    const use = { ...(store && { experts: expertUse(store) }), ...(hints && { hints: hints.counts }) }
    const shared = { model: opened.path, prompt, options, ...use }
    const result =
      samples === 1 ? { ...shared, ...results[0], timings } : { ...shared, samples: results, timings }
    process.stdout.write(`${JSON.stringify(result, null, 2)}\n`)
  } else
    process.stdout.write(isStreamed ? '\n' : results.map(({ text }) => `${bold(prompt)}${text}\n`).join('\n'))
  if (!json && !quiet) {
    process.stderr.write(`${dim(timingsText(timings))}\n`)
    if (store) process.stderr.write(`${dim(expertUseText(store))}\n`)
    if (hints) process.stderr.write(`${dim(hintsText(hints))}\n`)
    const note = store && aheadNote(store)
    if (note) process.stderr.write(`${yellow('note:')} ${note}\n`)
  }
  if (form && !quiet && end.reason === 'max-new-tokens')
    process.stderr.write(
      `${yellow('note:')} ended after ${end.tokens} tokens, before its form did: raise --max-new-tokens\n`,
    )
  if (end.reason === 'positions' && !quiet && 'max_position_embeddings' in config) {
    process.stderr.write(
      `${yellow('note:')} ended after ${end.tokens} tokens: with the prompt they fill the model's ${config.max_position_embeddings} positions\n`,
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
