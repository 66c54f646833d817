// Text for training a model that is there: its tokenizer, its chat template, and a corpus made with both.

import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import type { ChatTurn, Corpus, ExampleSource, PrepareProgress, Render, SkippedFile } from '../data/index.ts'
import { ConfigError } from '../errors.ts'
import type { OpenedModel } from '../models/index.ts'

export interface ModelDataOptions {
  /** Folder of the corpus. */
  out: string
  /** Files and folders of text, or of conversations. */
  paths: readonly string[]
  /** How conversations are written: `plain`, or a file of Jinja. Default: as the model's own template does. */
  chatTemplate?: string
  validation?: number
  seed?: number
  force?: boolean
  onProgress?: (progress: PrepareProgress) => void
  signal?: AbortSignal
}

/** A corpus, and the files that were passed over, as they hold no text. */
export interface PreparedData {
  corpus: Corpus
  skipped: readonly SkippedFile[]
}

/** A corpus for a model, of JSONL or Parquet an example at a time, of which answers are learnt; of other files as text. */
export async function prepareForModel(
  opened: OpenedModel,
  { paths, ...options }: ModelDataOptions,
): Promise<PreparedData> {
  const { exampleFiles, fileSource, isExamples, prepareCorpus } = await import('../data/index.ts')
  if (await isExamples(paths))
    return {
      corpus: await prepareExamplesForModel(opened, { ...options, source: exampleFiles(paths) }),
      skipped: [],
    }
  const { chatTemplate: _, ...rest } = options
  const source = fileSource({ paths })
  const corpus = await withTokenizerOf(opened, file =>
    prepareCorpus({ ...rest, source, tokenizer: { kind: 'file', file } }),
  )
  return { corpus, skipped: source.skipped }
}

/** A corpus for a model of examples from anywhere. */
export async function prepareExamplesForModel(
  opened: OpenedModel,
  { chatTemplate, ...options }: Omit<ModelDataOptions, 'paths'> & { source: ExampleSource },
): Promise<Corpus> {
  const { prepareExamples } = await import('../data/index.ts')
  const { isEncoderDecoder } = await import('../models/index.ts')
  const other = chatTemplate === undefined ? null : templateNamed(chatTemplate)
  const render = await rendererOf(opened, other ?? opened.template)
  return withTokenizerOf(opened, file =>
    prepareExamples({
      ...options,
      tokenizer: { kind: 'file', file },
      apart: isEncoderDecoder(opened.config),
      ...(render && { render }),
      ...(other !== null && { template: other }),
    }),
  )
}

/** Work that needs a model's tokenizer as a file, with what belongs beside it. */
async function withTokenizerOf<T>(opened: OpenedModel, work: (file: string) => Promise<T>): Promise<T> {
  const { copyTokenizer } = await import('../models/index.ts')
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-'))
  try {
    copyTokenizer(opened.path, folder)
    const file = join(folder, 'tokenizer.json')
    if (!existsSync(file))
      throw new ConfigError('has no tokenizer: text cannot be encoded for it', { path: opened.path })
    return await work(file)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Roles by name, and the end of text after each answer: for models that know no turns. */
const plainTemplate = `{% for message in messages %}{{ message.role }}: {{ message.content }}{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}
{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}`

function templateNamed(name: string): string {
  if (name === 'plain') return plainTemplate
  if (existsSync(name) && statSync(name).isFile()) return readFileSync(name, 'utf8')
  throw new ConfigError(`must be plain or a file of Jinja, got '${name}'`, { path: '--chat-template' })
}

/** Writes conversations as a template does, in its bounded thread; undefined without one. */
async function rendererOf(opened: OpenedModel, template: string | null): Promise<Render | undefined> {
  if (template === null) return undefined
  const { ChatTemplate } = await import('../server/index.ts')
  const chat = new ChatTemplate(template, opened.tokenizer)
  return (messages, { tools, forAnswer }) =>
    chat.render(
      {
        messages: messages.map(message => withArguments(message, chat.hasArgumentValues)),
        ...(tools && { tools }),
      },
      { forAnswer },
    )
}

/** Arguments of calls as values of JSON or as their text, whichever a template wants. */
function withArguments(message: ChatTurn, asValues: boolean): ChatTurn {
  if (!Array.isArray(message.tool_calls)) return message
  const calls = message.tool_calls.map((call: { function?: { arguments?: unknown } }) => {
    const given = call.function?.arguments
    const isText = typeof given === 'string'
    if (given === undefined || isText !== asValues) return call
    return {
      ...call,
      function: { ...call.function, arguments: isText ? JSON.parse(given) : JSON.stringify(given) },
    }
  })
  return { ...message, tool_calls: calls }
}

/** Where a corpus for a model is kept: by what it is made of, so that it is made once, and again when a file has changed. */
export async function placeOfData(
  opened: OpenedModel,
  { paths, validation, chatTemplate }: Pick<ModelDataOptions, 'paths' | 'validation' | 'chatTemplate'>,
): Promise<string> {
  const { listFiles } = await import('../data/index.ts')
  const template = chatTemplate === undefined ? opened.template : templateNamed(chatTemplate)
  const hash = createHash('sha256').update(`${resolve(opened.path)} ${validation} ${template}`)
  for (const path of paths) if (!existsSync(path)) throw new ConfigError('no such file or folder', { path })
  for (const { path, bytes, changed } of await listFiles(paths))
    hash.update(`${resolve(path)} ${bytes} ${changed}`)
  const name = basename(resolve(paths[0] ?? 'data')).replace(/\..*$/, '')
  return join('data', `${name}-${hash.digest('hex').slice(0, 8)}`)
}
