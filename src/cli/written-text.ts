// What `generate` writes: texts that are drawn, or the likeliest that a search finds.

import type {
  GenerateTextOptions,
  GenerationEnd,
  OpenedModel,
  SearchTextsOptions,
  StopReason,
} from '../models/index.ts'
import { expertUse, type LoadedTextModel } from './load-text-model.ts'
import type { Search } from './search-options.ts'
import { bold, dim, shortBytes } from './terminal.ts'
import { timed, timingsOf, timingsText } from './timings.ts'

/** A prompt, and the model that is to go on from it. */
export interface Asked {
  opened: OpenedModel
  loaded: LoadedTextModel
  loadSeconds: number
  prompt: string
  json: boolean
  quiet: boolean
}

/** How the first text ended. */
export interface TextEnd {
  tokens: number
  reason: StopReason
}

/** Texts that are drawn; one alone as it grows. */
export async function writeSamples(
  asked: Asked,
  samples: number,
  { task, ...options }: Omit<GenerateTextOptions, 'task'> & { task: number | undefined },
): Promise<TextEnd> {
  const { opened, loaded, prompt, json } = asked
  const { generateTexts } = await import('../models/index.ts')
  const prompts = new Array<string>(samples).fill(prompt)
  const pieces = generateTexts(loaded.model, opened.tokenizer, prompts, {
    ...options,
    ...(task !== undefined && { task }),
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
  await loaded.remember()
  const results = ends.map(({ timings: _, ...end }, i) => ({ text: texts[i] ?? '', ...end }))
  const [end] = ends as [GenerationEnd]
  const timings = timingsOf(asked.loadSeconds, end.timings)
  const { constraints: _, ...told } = options
  if (json) writeJson(asked, told, { ...(samples === 1 ? results[0] : { samples: results }), timings })
  else {
    process.stdout.write(isStreamed ? '\n' : results.map(({ text }) => `${bold(prompt)}${text}\n`).join('\n'))
    if (!asked.quiet) process.stderr.write(`${dim(timingsText(timings))}\n`)
  }
  return end
}

/** The best text that a search finds; as JSON all that it was left with, the best first. */
export async function writeFound(
  asked: Asked,
  { by, options, hasSeveral, find }: Search,
  common: SearchTextsOptions,
): Promise<TextEnd> {
  const { opened, loaded, prompt, json, loadSeconds } = asked
  const { result, seconds } = await timed(() => find(loaded.model, opened.tokenizer, prompt, common))
  await loaded.remember()
  const nBest = result.map(({ ids, ...text }) => ({ ...text, tokens: ids.length }))
  const [best = { text: '', tokens: 0, reason: 'aborted' as const }] = nBest
  const timings = { loadSeconds, seconds, memory: process.memoryUsage.rss() }
  if (json) writeJson(asked, { ...common, ...options }, { ...best, ...(hasSeveral && { nBest }), timings })
  else {
    process.stdout.write(`${bold(prompt)}${best.text}\n`)
    if (!asked.quiet)
      process.stderr.write(
        `${dim(`loaded in ${loadSeconds.toFixed(2)} s, ${by} in ${seconds.toFixed(2)} s, ${shortBytes(timings.memory)} of memory`)}\n`,
      )
  }
  return best
}

function writeJson(
  { opened, prompt, loaded: { store, hints } }: Asked,
  options: object,
  result: object,
): void {
  const use = { ...(store && { experts: expertUse(store) }), ...(hints && { hints: hints.counts }) }
  const all = { model: opened.path, prompt, options, ...use, ...result }
  process.stdout.write(`${JSON.stringify(all, null, 2)}\n`)
}
