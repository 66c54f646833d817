// What a server may be told, and its limits.

export interface ServerSettings {
  /** Default 127.0.0.1. Elsewhere keys are demanded. */
  host: string
  /** 0: any that is free. */
  port: number
  /** Who may ask. None: anybody who reaches the server. */
  keys: readonly string[]
  /** Web pages that may ask, as `https://example.org`. Default: none. */
  origins: readonly string[]
  limits: Limits
  /** Requests that each key may send in a minute; without keys, all together. Default: as many as it likes. */
  perMinute?: number | undefined
  /** Series of metrics for single experts of each model, those that serve most. Default: none. */
  expertSeries?: number | undefined
  /** Seconds that requests have to end in when the server is to stop. */
  drainSeconds: number
}

export interface Limits {
  /** Bytes of a request's body. */
  body: number
  /** Answers to one request. */
  n: number
  /** Stop texts, and characters of each. */
  stops: number
  stopLength: number
  /** Likeliest tokens that are reported at each place. */
  logprobs: number
  /** Texts that one request may ask for: its prompts, `n` times each. */
  texts: number
}

export const defaultLimits: Limits = {
  body: 2 ** 20,
  n: 8,
  stops: 16,
  stopLength: 256,
  logprobs: 20,
  texts: 16,
}

/** Whether only this machine reaches an address. */
export const isLoopback = (host: string): boolean => /^(localhost|127(\.\d+){3}|::1)$/.test(host)
