// `switchyard chat`: a conversation in the terminal, written out by the model's own template.

import { createInterface } from 'node:readline/promises'
import { Command } from 'commander'
import type { Tokenizer } from '../../data/index.ts'
import type { GenerateTextOptions, GenerationEnd, TextModel } from '../../models/index.ts'
import { hintsText } from '../fewer-experts.ts'
import { JsonForm, withJsonSchemaOption } from '../json-form.ts'
import {
  aheadNote,
  divideTextFlags,
  expertUse,
  expertUseText,
  type LoadedTextModel,
  loadTextModel,
  type TextModelFlags,
  withTextModelOptions,
} from '../load-text-model.ts'
import { openNamed } from '../open-model.ts'
import { withSamplingOptions } from '../sampling-options.ts'
import { bold, dim, yellow } from '../terminal.ts'
import { timed, timingsOf, timingsText } from '../timings.ts'
import { wholeNumberOf } from '../values.ts'
import { type ChatMessage, WrittenChat } from '../written-chat.ts'

type Flags = GenerateTextOptions & TextModelFlags & { system?: string; jsonSchema?: string; json?: boolean }

/** Tokens of a conversation that a budget of memory leaves room for, where the model has as many positions. */
const plannedContext = 4096

const help = `
Type a message and press Enter. /reset starts anew, /exit or Ctrl-D ends, Ctrl-C
stops an answer. Lines from a pipe are answered one after the other.

Examples:
  switchyard chat model --system "Answer briefly."
  echo "What is a router?" | switchyard chat model.gguf --quiet`

export function chatCommand(): Command {
  const command = new Command('chat')
    .description('talk with a model, by its chat template')
    .argument('<model>', 'model folder, .gguf file or downloaded org/name')
    .option('--system <text>', 'what the model is told before the conversation')
    .option('--max-new-tokens <n>', 'most tokens of an answer', wholeNumberOf('--max-new-tokens', 1), 512)
  return withTextModelOptions(withJsonSchemaOption(withSamplingOptions(command)))
    .option('--json', 'print each answer as a line of JSON')
    .option('--quiet', 'print nothing but the answers')
    .addHelpText('after', help)
    .action(chat)
}

async function chat(path: string, { system, json, jsonSchema, ...flags }: Flags): Promise<void> {
  const { placement, quiet, options } = divideTextFlags(flags)
  const opened = await openNamed(path, { quiet })
  const { tokenizer } = opened
  const written = new WrittenChat(opened)
  const start: ChatMessage[] = system === undefined ? [] : [{ role: 'system', content: system }]
  // A template or schema that fails is told before the model is loaded, and its thread counts within a budget.
  await written.text([...start, { role: 'user', content: '' }])
  const form = jsonSchema === undefined ? null : await JsonForm.read(jsonSchema, opened)
  const first = await form?.constraint()
  first?.[Symbol.dispose]()
  const positions =
    'max_position_embeddings' in opened.config ? opened.config.max_position_embeddings : plannedContext
  const context = async (): Promise<number> => Math.min(plannedContext, positions)
  const { result, seconds } = await timed(() => loadTextModel(opened, placement, { context, quiet }))
  const { model, store, remember, dispose } = result
  const isTerminal = process.stdin.isTTY && process.stdout.isTTY
  const lines = createInterface({ input: process.stdin, output: process.stdout, terminal: isTerminal })
  const conversation = new Conversation({ model, tokenizer, written, form, options }, start)
  const show = !json && !quiet && isTerminal
  if (show) process.stdout.write(`${dim('/reset starts anew, /exit ends')}\n`)
  lines.setPrompt(show ? bold('> ') : '')
  lines.prompt()
  let note: string | null = null
  for await (const line of lines) {
    if (line.trim() === '/exit') break
    if (line.trim() === '/reset') conversation.reset()
    else if (line.trim() !== '')
      await answer(conversation, line, lines, { json, quiet, loadSeconds: seconds, loaded: result })
    await remember()
    if (note === null && store && !json && !quiet) {
      note = aheadNote(store)
      if (note) process.stderr.write(`${yellow('note:')} ${note}\n`)
    }
    lines.prompt()
  }
  lines.close()
  dispose()
}

type Lines = ReturnType<typeof createInterface>

interface Shown {
  json: boolean | undefined
  quiet: boolean
  loadSeconds: number
  loaded: Pick<LoadedTextModel, 'store' | 'hints'>
}

async function answer(
  conversation: Conversation,
  line: string,
  lines: Lines,
  { json, quiet, loadSeconds, loaded: { store, hints } }: Shown,
): Promise<void> {
  const stopped = new AbortController()
  const stop = (): void => stopped.abort()
  lines.once('SIGINT', stop)
  let text = ''
  const pieces = conversation.answer(line, stopped.signal)
  let next = await pieces.next()
  for (; !next.done; next = await pieces.next()) {
    text += next.value
    if (!json) process.stdout.write(next.value)
  }
  lines.off('SIGINT', stop)
  const timings = timingsOf(loadSeconds, next.value.timings)
  const use = { ...(store && { experts: expertUse(store) }), ...(hints && { hints: hints.counts }) }
  process.stdout.write(json ? `${JSON.stringify({ message: line, answer: text, ...use, timings })}\n` : '\n')
  if (json || quiet) return
  const notes = [
    timingsText(timings),
    ...(store ? [expertUseText(store)] : []),
    ...(hints ? [hintsText(hints)] : []),
  ]
  for (const note of notes) process.stderr.write(`${dim(note)}\n`)
}

interface Speaker {
  model: TextModel
  tokenizer: Tokenizer
  written: WrittenChat
  form: JsonForm | null
  options: GenerateTextOptions
}

/** What was said so far. */
class Conversation {
  readonly #speaker: Speaker
  readonly #start: readonly ChatMessage[]
  #messages: ChatMessage[]

  constructor(speaker: Speaker, start: readonly ChatMessage[]) {
    this.#speaker = speaker
    this.#start = start
    this.#messages = [...start]
  }

  reset(): void {
    this.#messages = [...this.#start]
  }

  /** The model's answer to a message, in pieces; both become part of the conversation. */
  async *answer(content: string, signal: AbortSignal): AsyncGenerator<string, GenerationEnd> {
    const { generateText } = await import('../../models/index.ts')
    const { model, tokenizer, written, form, options } = this.#speaker
    this.#messages.push({ role: 'user', content })
    const prompt = await written.text(this.#messages)
    const constraint = form && (await form.constraint())
    const own = { isTemplated: true, signal, constraints: constraint ? [constraint] : undefined }
    let text = ''
    const pieces = generateText(model, tokenizer, prompt, { ...options, ...own })
    let next = await pieces.next()
    for (; !next.done; next = await pieces.next()) {
      text += next.value
      yield next.value
    }
    constraint?.[Symbol.dispose]()
    this.#messages.push({ role: 'assistant', content: text })
    return next.value
  }
}
