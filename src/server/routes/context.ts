// What every route knows.

import { setMaxListeners } from 'node:events'
import type { Context, Hono } from 'hono'
import type { TextEngine, TextPart, TextRequest } from '../../engine/index.ts'
import { ApiError } from '../api-error.ts'
import type { StreamListener } from '../event-stream.ts'
import { isDeeperThan } from '../json-depth.ts'
import type { Metrics } from '../metrics.ts'
import { type AnswerPart, writeAll } from '../openai/answers.ts'
import type { RequestRecord } from '../request-record.ts'
import type { ServedModel } from '../served-model.ts'
import type { Limits } from '../settings.ts'

/** Lists and objects within each other in a body, which is walked by functions that call themselves. */
const deepestBody = 200

/** What middleware leaves for a route. */
export interface Env {
  Variables: { record: RequestRecord; late: StreamListener }
}

export type Routes = Hono<Env>

export interface ServerContext {
  models: readonly ServedModel[]
  metrics: Metrics
  limits: Limits
  /** Aborted when requests that are still answered are to end. */
  stopping: AbortSignal
}

/** The body as JSON. @throws ApiError for what is none, or nested too deep */
export async function jsonOf(c: Context<Env>): Promise<unknown> {
  const text = await c.req.text().catch(() => '')
  if (isDeeperThan(deepestBody, text))
    throw new ApiError(400, `the body is nested deeper than ${deepestBody}`, { code: 'invalid_json' })
  try {
    return JSON.parse(text)
  } catch {
    throw new ApiError(400, 'the body is no valid JSON', { code: 'invalid_json' })
  }
}

/** Writes texts for a request, until its client has gone or the server stops. */
export async function* writeFor(
  c: Context<Env>,
  { metrics, stopping }: ServerContext,
  served: ServedModel,
  requests: readonly TextRequest[],
): AsyncGenerator<AnswerPart, void> {
  const record = c.get('record')
  const engine = observed(served, metrics)
  const signal = AbortSignal.any([c.req.raw.signal, stopping])
  setMaxListeners(requests.length + 1, signal) // each text listens
  const named = requests.map(request => ({ ...request, key: record.key }))
  for await (const part of record.watch(writeAll(engine, named, signal))) {
    if (part.end?.reason === 'aborted') throw abortedBy(c.req.raw.signal)
    yield part
  }
}

/** 499 is what proxies log of clients that have gone; nobody gets it. */
const abortedBy = (client: AbortSignal): ApiError =>
  client.aborted
    ? new ApiError(499, 'the client has gone', { code: 'client_gone' })
    : new ApiError(503, 'the server stops: repeat the request', { code: 'stopping', retryAfter: 5 })

/** An engine whose texts are counted. */
const observed = ({ id, engine }: ServedModel, metrics: Metrics): Pick<TextEngine, 'generate'> => ({
  generate: (request): AsyncGenerator<TextPart, void> => metrics.watch(id, engine.generate(request)),
})
