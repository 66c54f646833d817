// Text for training a model that is there: its tokenizer, its chat template, and a corpus made with both.

import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import type { ChatTurn, Corpus, PrepareProgress, Render } from '../data/index.ts'
import { ConfigError } from '../errors.ts'
import type { OpenedModel } from '../models/index.ts'

export interface ModelDataOptions {
  /** Folder of the corpus. */
  out: string
  /** Files and folders of text, or of conversations. */
  paths: readonly string[]
  validation?: number
  seed?: number
  force?: boolean
  onProgress?: (progress: PrepareProgress) => void
  signal?: AbortSignal
}

/** A corpus for a model, of JSONL or Parquet an example at a time, of which answers are learnt; of other files as text. */
export async function prepareForModel(opened: OpenedModel, options: ModelDataOptions): Promise<Corpus> {
  const { fileSource, isExamples, prepareConversations, prepareCorpus } = await import('../data/index.ts')
  const { copyTokenizer } = await import('../models/index.ts')
  const folder = mkdtempSync(join(tmpdir(), 'switchyard-'))
  try {
    copyTokenizer(opened.path, folder)
    const file = join(folder, 'tokenizer.json')
    if (!existsSync(file))
      throw new ConfigError('has no tokenizer: text cannot be encoded for it', { path: opened.path })
    const tokenizer = { kind: 'file', file } as const
    const { paths, ...rest } = options
    if (await isExamples(paths)) {
      const render = await rendererOf(opened)
      return await prepareConversations({ ...rest, paths, tokenizer, ...(render && { render }) })
    }
    return await prepareCorpus({ ...rest, source: fileSource({ paths }), tokenizer })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Writes conversations as a model's template does, in its bounded thread; undefined for a model without one. */
async function rendererOf(opened: OpenedModel): Promise<Render | undefined> {
  const { template } = opened
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

/** Where a corpus for a model is kept: by what it is made of, so that it is made once. */
export function placeOfData(opened: OpenedModel, paths: readonly string[], validation?: number): string {
  const hash = createHash('sha256').update(`${resolve(opened.path)} ${validation} ${opened.template}`)
  for (const path of paths) {
    const stat = statSync(path, { throwIfNoEntry: false })
    if (!stat) throw new ConfigError('no such file or folder', { path })
    hash.update(`${resolve(path)} ${stat.size} ${stat.mtimeMs}`)
  }
  const name = basename(resolve(paths[0] ?? 'data')).replace(/\..*$/, '')
  return join('data', `${name}-${hash.digest('hex').slice(0, 8)}`)
}
