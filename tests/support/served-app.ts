// A server of a small model in this process: its HTTP interface without a port, and the openai client on it.
import OpenAI from 'openai'
import { afterAll } from 'vitest'
import { Engine, type TextEngine, type TextRequest } from '../../src/engine/index.ts'
import { openModel } from '../../src/models/index.ts'
import {
  type AppOptions,
  createApp,
  defaultLimits,
  type LogLine,
  servedModel,
} from '../../src/server/index.ts'
import { temporaryFolder } from './cli.ts'
import { writeServedModel } from './served-model.ts'

/** With three places, and eight that may wait; it goes when the file's tests are done. */
export async function servedApp() {
  const { gguf } = writeServedModel(temporaryFolder())
  const opened = openModel(gguf)
  const engine = await Engine.open(gguf, { texts: 3, waiting: 8 })
  afterAll(() => engine.close())
  const lines: LogLine[] = []
  const onRequest = (line: LogLine): void => void lines.push(line)

  const appOf = (options: Partial<AppOptions> = {}, by: TextEngine = engine, template = opened.template) => {
    const { path, tokenizer } = opened
    const served = servedModel({ path, tokenizer, template }, by, 'tiny')
    return createApp([served], { keys: [], origins: [], limits: defaultLimits, onRequest, ...options })
  }

  const clientOf = (options: Partial<AppOptions> = {}, apiKey = 'none'): OpenAI =>
    openaiOf(appOf(options), apiKey)

  /** Of a model with another template, by an engine that may be another one. */
  const templated = (template: string, by: TextEngine = engine): OpenAI => openaiOf(appOf({}, by, template))

  /** An engine that writes one text after the other, each in pieces of three characters. */
  const scripted = (...texts: string[]): TextEngine & { asked: TextRequest[] } => {
    const asked: TextRequest[] = []
    return {
      ...{ facts: engine.facts, isReady: true, asked },
      status: () => engine.status(),
      close: async () => undefined,
      async *generate(request) {
        asked.push(request)
        const text = texts.shift() ?? ''
        const end = {
          reason: 'end-of-text',
          promptTokens: 1,
          cachedTokens: 0,
          newTokens: text.length,
        } as const
        for (let at = 0; at < text.length; at += 3)
          yield { text: text.slice(at, at + 3), tokens: [{ id: 5 }] }
        yield { text: '', tokens: [], end: { ...end, seconds: { queued: 0, prompt: 0, writing: 0 } } }
      },
    }
  }

  const post = async (
    path: string,
    body: unknown,
    options: Partial<AppOptions> = {},
    headers = {},
  ): Promise<Response> =>
    appOf(options).request(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })

  return { engine, opened, lines, appOf, clientOf, templated, scripted, post }
}

/** fetch() of an app in this process. */
export const fetchOf =
  (app: ReturnType<typeof createApp>) =>
  async (url: string | URL | Request, init?: RequestInit): Promise<Response> =>
    url instanceof Request ? app.request(url) : app.request(String(url), init)

const openaiOf = (app: ReturnType<typeof createApp>, apiKey = 'none'): OpenAI =>
  new OpenAI({ baseURL: 'http://local/v1', apiKey, fetch: fetchOf(app), maxRetries: 0 })

export const messages = [{ role: 'user' as const, content: 'Hello' }]
export const greedy = { model: 'tiny', temperature: 0, max_tokens: 12 }
