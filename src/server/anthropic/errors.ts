// Errors as clients of Anthropic's API know them.

import type { ApiError } from '../api-error.ts'

const types: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
}

/** `{ type: 'error', error: { type, message } }` */
export function anthropicError({ status, message }: ApiError): object {
  const type = types[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error')
  return { type: 'error', error: { type, message } }
}
