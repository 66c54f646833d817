// The HTTP interface of a model. Requests come in by fetch(), so that tests need no port.

import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { anthropicError } from './anthropic/errors.ts'
import { ApiError, internalError, knownError } from './api-error.ts'
import { ApiKeys } from './keys.ts'
import { Metrics } from './metrics.ts'
import { openApi } from './openapi.ts'
import { RateLimit } from './rate-limit.ts'
import { type LogLine, RequestRecord } from './request-record.ts'
import { chatRoutes } from './routes/chat.ts'
import { completionRoutes } from './routes/completions.ts'
import type { Env, Routes, ServerContext } from './routes/context.ts'
import { embeddingRoutes } from './routes/embeddings.ts'
import { healthRoutes, openPaths } from './routes/health.ts'
import { messageRoutes } from './routes/messages.ts'
import { modelRoutes } from './routes/models.ts'
import { responseRoutes } from './routes/responses.ts'
import { tokenRoutes } from './routes/tokens.ts'
import type { ServedModel } from './served-model.ts'
import type { ServerSettings } from './settings.ts'

export interface AppOptions
  extends Pick<ServerSettings, 'keys' | 'origins' | 'limits' | 'perMinute' | 'expertSeries'> {
  /** Is told of each request once it is answered. */
  onRequest?: (line: LogLine) => void
  /** Aborted when no new requests are taken. */
  draining?: AbortSignal
  /** Aborted when those that are still answered are to end. */
  stopping?: AbortSignal
}

const never = new AbortController().signal

/** @param models at least one, each with a name of its own */
export function createApp(models: readonly ServedModel[], options: AppOptions): Routes {
  const { keys, origins, limits, perMinute, onRequest, draining = never, stopping = never } = options
  const app = new Hono<Env>()
  const metrics = new Metrics(models, options.expertSeries)
  const context: ServerContext = { models, metrics, limits, stopping }
  const isDraining = (): boolean => draining.aborted

  app.use(recordRequests(metrics, onRequest))
  app.use(checkOrigins(origins))
  app.use(checkKeys(new ApiKeys(keys)))
  if (perMinute !== undefined) app.use(checkRate(new RateLimit(perMinute)))
  app.use(refuseWhile(isDraining))
  app.use(requireJson)
  app.use(bodyLimit({ maxSize: limits.body, onError: c => tooLarge(limits.body, c) }))

  healthRoutes(app, context, isDraining)
  modelRoutes(app, context)
  chatRoutes(app, context)
  completionRoutes(app, context)
  responseRoutes(app, context)
  messageRoutes(app, context)
  embeddingRoutes(app, context)
  tokenRoutes(app, context)
  app.get('/openapi.json', c => c.json(openApi(limits, keys.length > 0)))

  app.notFound(c =>
    responseOf(new ApiError(404, `there is no ${c.req.method} ${c.req.path}`, { code: 'not_found' }), c),
  )
  app.onError((error, c) => {
    c.get('record').fail(error)
    return responseOf(knownError(error) ?? internalError(), c)
  })
  return app
}

type Middleware = (c: Context<Env>, next: () => Promise<void>) => Promise<Response | undefined>

/** In the words of the API that was asked. */
function responseOf(error: ApiError, { req }: Context<Env>): Response {
  const isAnthropic = req.path.startsWith('/v1/messages')
  return error.toResponse(isAnthropic ? anthropicError(error) : error.body)
}

/** What is left of the body is not read: nothing else can come over this connection. */
function tooLarge(most: number, c: Context): Response {
  const error = new ApiError(413, `the body is larger than ${most} bytes`, { code: 'body_too_large' })
  const response = responseOf(error, c)
  response.headers.set('connection', 'close')
  return response
}

/** One line for each request, when the last byte of its answer has been given out. */
function recordRequests(metrics: Metrics, onRequest: AppOptions['onRequest']): Middleware {
  return async (c, next) => {
    const record = new RequestRecord()
    const { method, path } = c.req
    const onEnd = (): void => {
      metrics.countRequest(method, knownPaths.includes(path) ? path : 'other', c.res.status)
      onRequest?.(record.line(method, path, c.res.status))
    }
    c.set('record', record)
    c.set('late', { onError: error => record.fail(error), onEnd })
    await next()
    if (!isEventStream(c.res)) onEnd()
    return undefined
  }
}

/** Metrics have a series for each of them, and none for what else is asked for. */
const knownPaths: readonly string[] = [
  ...[
    '/v1/models',
    '/v1/chat/completions',
    '/v1/completions',
    '/v1/responses',
    '/v1/messages',
    '/v1/messages/count_tokens',
    '/v1/embeddings',
    '/tokenize',
    '/detokenize',
  ],
  ...['/health', '/ready', '/metrics', '/openapi.json'],
]

/**
 * A page in a browser says where it comes from. What comes from pages is refused unless they are named: else any page that a
 * user of this machine opens could ask.
 */
function checkOrigins(origins: readonly string[]): Middleware {
  return async (c, next) => {
    const origin = c.req.header('origin')
    if (origin !== undefined && !origins.includes(origin))
      throw new ApiError(403, 'pages of this origin may not ask here', { code: 'origin_not_allowed' })
    if (origin === undefined) return void (await next())
    const allowed = { 'access-control-allow-origin': origin, vary: 'Origin' }
    if (c.req.method === 'OPTIONS') {
      // Clients have headers of their own, more with each version: a page that may ask may send them.
      const headers = c.req.header('access-control-request-headers') ?? 'authorization, content-type'
      const all = { ...allowed, ...preflight, 'access-control-allow-headers': headers }
      return new Response(null, { status: 204, headers: all })
    }
    await next()
    for (const [name, value] of Object.entries(allowed)) c.res.headers.set(name, value)
    return undefined
  }
}

const preflight = {
  'access-control-allow-methods': 'GET, POST, DELETE',
  'access-control-max-age': '600',
}

function checkKeys(keys: ApiKeys): Middleware {
  return async (c, next) => {
    if (!openPaths.includes(c.req.path))
      c.get('record').key = keys.nameOf(c.req.header('authorization') ?? bearer(c.req.header('x-api-key')))
    await next()
    return undefined
  }
}

/** Anthropic's clients show a key by itself. */
const bearer = (key: string | undefined): string | undefined =>
  key === undefined ? undefined : `Bearer ${key}`

function checkRate(limit: RateLimit): Middleware {
  return async (c, next) => {
    if (!openPaths.includes(c.req.path)) limit.take(c.get('record').key)
    await next()
    return undefined
  }
}

function refuseWhile(isDraining: () => boolean): Middleware {
  return async (c, next) => {
    if (isDraining() && !openPaths.includes(c.req.path))
      throw new ApiError(503, 'the server stops', { code: 'stopping', retryAfter: 5 })
    await next()
    return undefined
  }
}

/** Other types are what forms of web pages can send. */
const requireJson: Middleware = async (c, next) => {
  const type = c.req.header('content-type') ?? ''
  if (c.req.method === 'POST' && !/^application\/json\b/i.test(type))
    throw new ApiError(415, 'the body must be JSON: send Content-Type: application/json', {
      code: 'unsupported_media_type',
    })
  await next()
  return undefined
}

const isEventStream = (response: Response): boolean =>
  response.headers.get('content-type')?.startsWith('text/event-stream') === true
