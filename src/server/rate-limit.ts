// How many requests a key may send.

import { ApiError } from './api-error.ts'

/**
 * A bucket of tokens for each key: a request takes one, `perMinute` come back in a minute, and as many may be sent at once. By a
 * clock that nobody sets.
 */
export class RateLimit {
  readonly #perMinute: number
  readonly #now: () => number
  readonly #buckets = new Map<string, { tokens: number; at: number }>()

  /** @param now milliseconds */
  constructor(perMinute: number, now: () => number = () => performance.now()) {
    this.#perMinute = perMinute
    this.#now = now
  }

  /** Counts a request. @throws ApiError 429 for one too many, with when to come again */
  take(key: string): void {
    const now = this.#now()
    const { tokens, at } = this.#buckets.get(key) ?? { tokens: this.#perMinute, at: now }
    const left = Math.min(this.#perMinute, tokens + ((now - at) / 60_000) * this.#perMinute)
    this.#buckets.set(key, { tokens: left >= 1 ? left - 1 : left, at: now })
    if (left >= 1) return
    throw new ApiError(429, `more than ${this.#perMinute} requests a minute`, {
      code: 'rate_limit_exceeded',
      retryAfter: Math.ceil(((1 - left) / this.#perMinute) * 60),
    })
  }
}
