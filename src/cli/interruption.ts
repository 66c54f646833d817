// What asks a command to end: Ctrl-C, kill, a terminal that closes, a reader that has gone.

import { reportError } from './report.ts'

/** Exit codes as shells have them: 128 and the signal's number. */
const exitCodes = { SIGHUP: 129, SIGINT: 130, SIGPIPE: 141, SIGTERM: 143 } as const

type Cause = keyof typeof exitCodes
const causes = Object.keys(exitCodes) as Cause[]

/** Until released, the first request to end aborts `signal`, so that work can be saved; a second one ends at once. */
export class Interruption {
  readonly #controller = new AbortController()
  readonly #onRequest: () => void
  readonly #causes: readonly Cause[]
  #cause: Cause | undefined

  /** @param among what counts as a request. Default: all; to a server SIGPIPE is a client that has gone */
  constructor(onRequest: () => void, among: readonly Cause[] = causes) {
    this.#onRequest = onRequest
    this.#causes = among
    for (const cause of among) process.on(cause, this.#request)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** What tells others why the process ended; 0 when nobody asked. */
  get exitCode(): number {
    return this.#cause === undefined ? 0 : exitCodes[this.#cause]
  }

  readonly #request = (cause: NodeJS.Signals): void => {
    const isFirst = this.#cause === undefined
    // Every write to a closed pipe fails: that is no second request, and nobody is there to be told.
    if (!isFirst && cause !== 'SIGPIPE') process.exit(this.exitCode)
    this.#cause ??= cause as Cause
    this.#controller.abort()
    if (isFirst && cause !== 'SIGPIPE') this.#onRequest()
  }

  release(): void {
    for (const cause of this.#causes) process.off(cause, this.#request)
  }
}

/** Treats output that nobody can read any more as the signal SIGPIPE, which Node itself ignores. */
export function noticeClosedOutput(): void {
  const notice = (error: NodeJS.ErrnoException): void => {
    const isClosed = error.code === 'EPIPE' || error.code === 'EIO' // EIO: the terminal is gone
    if (!isClosed) process.exit(reportError(error))
    if (!process.emit('SIGPIPE', 'SIGPIPE')) process.exit(exitCodes.SIGPIPE)
  }
  process.stdout.on('error', notice)
  process.stderr.on('error', notice)
}
