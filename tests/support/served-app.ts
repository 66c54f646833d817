// A server of a small model in this process: its HTTP interface without a port, and the openai client on it.
import OpenAI from 'openai'
import { afterAll } from 'vitest'
import { Engine, type TextEngine } from '../../src/engine/index.ts'
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

  const appOf = (options: Partial<AppOptions> = {}, by: TextEngine = engine) => {
    const served = servedModel(opened, by, 'tiny')
    return createApp([served], { keys: [], origins: [], limits: defaultLimits, onRequest, ...options })
  }

  const clientOf = (options: Partial<AppOptions> = {}, apiKey = 'none'): OpenAI => {
    const app = appOf(options)
    const fetch = async (url: string | URL | Request, init?: RequestInit): Promise<Response> =>
      app.request(String(url), init)
    return new OpenAI({ baseURL: 'http://local/v1', apiKey, fetch, maxRetries: 0 })
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

  return { engine, opened, lines, appOf, clientOf, post }
}

export const messages = [{ role: 'user' as const, content: 'Hello' }]
export const greedy = { model: 'tiny', temperature: 0, max_tokens: 12 }
