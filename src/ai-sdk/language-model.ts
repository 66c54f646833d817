// A model of this machine as the AI SDK knows models.

import type {
  LanguageModelV3,
  LanguageModelV3CallOptions,
  LanguageModelV3Content,
  LanguageModelV3GenerateResult,
  LanguageModelV3StreamPart,
  LanguageModelV3StreamResult,
} from '@ai-sdk/provider'
import { type EngineOptions, WorkerEngine } from '../engine/index.ts'
import { openModel } from '../models/index.ts'
import { type ServedModel, servedModel, writeChat } from '../server/index.ts'
import { chatBody, warningsOf } from './call-options.ts'
import { streamParts } from './stream-parts.ts'

/** Loads the model when it is first asked. */
export class SwitchyardModel implements LanguageModelV3 {
  readonly specificationVersion = 'v3'
  readonly provider = 'switchyard'
  readonly supportedUrls = {}
  /** The path of the model. */
  readonly modelId: string
  readonly #options: EngineOptions
  #served: Promise<ServedModel> | null = null

  constructor(path: string, options: EngineOptions = {}) {
    this.modelId = path
    this.#options = options
  }

  async doGenerate(options: LanguageModelV3CallOptions): Promise<LanguageModelV3GenerateResult> {
    const content: LanguageModelV3Content[] = []
    let finish: Extract<LanguageModelV3StreamPart, { type: 'finish' }> | null = null
    for await (const part of this.#answer(options)) {
      if (part.type === 'finish') finish = part
      else addContent(content, part)
    }
    if (finish === null) throw new Error('the answer has no end')
    const { usage, finishReason } = finish
    return { content, usage, finishReason, warnings: warningsOf(options) }
  }

  async doStream(options: LanguageModelV3CallOptions): Promise<LanguageModelV3StreamResult> {
    const parts = this.#answer(options)
    const first = await parts.next() // what is refused is refused before the stream begins
    const all = (async function* (): AsyncGenerator<LanguageModelV3StreamPart, void> {
      yield { type: 'stream-start', warnings: warningsOf(options) }
      if (!first.done) yield first.value
      yield* parts
    })()
    return { stream: readable(all) }
  }

  /** Frees the model; it is loaded again when it is asked again. */
  async close(): Promise<void> {
    const served = await this.#served?.catch(() => null)
    this.#served = null
    await served?.engine.close()
  }

  async *#answer(options: LanguageModelV3CallOptions): AsyncGenerator<LanguageModelV3StreamPart, void> {
    this.#served ??= this.#load()
    const loading = this.#served
    loading.catch(() => {
      if (this.#served === loading) this.#served = null // the next one tries again
    })
    yield* streamParts(writeChat(await loading, chatBody(options), options.abortSignal))
  }

  async #load(): Promise<ServedModel> {
    const opened = openModel(this.modelId)
    return servedModel(opened, await WorkerEngine.open(opened.path, this.#options))
  }
}

/** Content that a part adds to, or begins. */
function addContent(content: LanguageModelV3Content[], part: LanguageModelV3StreamPart): void {
  const last = content.at(-1)
  if (part.type === 'text-start') content.push({ type: 'text', text: '' })
  else if (part.type === 'reasoning-start') content.push({ type: 'reasoning', text: '' })
  else if (part.type === 'tool-call') content.push(part)
  else if ((part.type === 'text-delta' || part.type === 'reasoning-delta') && last && 'text' in last)
    last.text += part.delta
}

/** Reads on only when its reader is ready for more; when that has gone, the answer ends. */
function readable<T>(items: AsyncGenerator<T, void>): ReadableStream<T> {
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await items.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    async cancel() {
      await items.return()
    },
  })
}
