// Errors as clients of the OpenAI API know them. What happened inside stays in the log.

import { BusyError, ConfigError, StoppedError } from '../errors.ts'

export interface ApiErrorOptions {
  /** The field that is wrong. */
  param?: string | null
  code?: string | null
  /** Seconds after which to try again. */
  retryAfter?: number
}

export class ApiError extends Error {
  readonly status: number
  readonly param: string | null
  readonly code: string | null
  readonly retryAfter: number | null

  constructor(status: number, message: string, { param, code, retryAfter }: ApiErrorOptions = {}) {
    super(message)
    this.status = status
    this.param = param ?? null
    this.code = code ?? null
    this.retryAfter = retryAfter ?? null
  }

  /** `{ error: { message, type, param, code } }` */
  get body(): { error: { message: string; type: string; param: string | null; code: string | null } } {
    const { message, param, code } = this
    return { error: { message, type: typeOf(this.status), param, code } }
  }

  toResponse(body: object = this.body): Response {
    const headers = this.retryAfter === null ? {} : { 'retry-after': `${this.retryAfter}` }
    return Response.json(body, { status: this.status, headers })
  }
}

function typeOf(status: number): string {
  if (status === 401) return 'authentication_error'
  if (status === 403) return 'permission_error'
  if (status === 429) return 'rate_limit_error'
  return status < 500 ? 'invalid_request_error' : 'server_error'
}

/** A field that is wrong: 400. */
export const wrongField = (param: string, problem: string, code = 'invalid_value'): ApiError =>
  new ApiError(400, `${param}: ${problem}`, { param, code })

/** What the API calls a field of the engine's. */
const fieldNames: Record<string, string> = {
  prompt: 'prompt',
  maxNewTokens: 'max_tokens',
  temperature: 'temperature',
  topK: 'top_k',
  topP: 'top_p',
  minP: 'min_p',
  typical: 'typical_p',
  repetitionPenalty: 'repetition_penalty',
  presencePenalty: 'presence_penalty',
  frequencyPenalty: 'frequency_penalty',
  logitBias: 'logit_bias',
  grammar: 'response_format',
  onMiss: 'switchyard.on_miss',
  expertsPerToken: 'switchyard.experts_per_token',
}

/** What to tell a client of anything that was thrown; null for what nobody thought of, which is a 500. */
export function knownError(error: unknown): ApiError | null {
  if (error instanceof ApiError) return error
  if (error instanceof BusyError)
    return new ApiError(503, 'the server is busy: all places and the queue are full', {
      code: 'overloaded',
      retryAfter: 1,
    })
  if (error instanceof StoppedError)
    return new ApiError(503, 'the engine stopped while it answered: repeat the request', {
      code: 'engine_stopped',
      retryAfter: 1,
    })
  if (!(error instanceof ConfigError)) return null
  const [field = ''] = error.path.split('.')
  const name = fieldNames[field]
  return name === undefined ? null : wrongField(name, error.problem)
}

export const internalError = (): ApiError =>
  new ApiError(500, 'the server failed to answer; its log says why', { code: 'internal_error' })
