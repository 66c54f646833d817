// A progress line: redrawn in place on a terminal, a plain line now and then elsewhere, nothing when quiet.

import { truncate, yellow } from './terminal.ts'

const redrawEvery = 100 // ms
const plainEvery = 5000 // ms

export interface ProgressOptions {
  quiet?: boolean
  /** Default: stderr, so that stdout stays clean for results. */
  stream?: NodeJS.WriteStream
}

export class Progress {
  readonly #stream: NodeJS.WriteStream
  readonly #quiet: boolean
  /** Quick work shows no bar at all: the clock starts when the work does. */
  #lastDrawn = Date.now()
  #shown = false

  constructor({ quiet = false, stream = process.stderr }: ProgressOptions = {}) {
    this.#stream = stream
    this.#quiet = quiet
  }

  /** Shows how far things are: `fraction` of a bar (none when undefined) and a text beside it. */
  update(fraction: number | undefined, text: string): void {
    if (this.#quiet || Date.now() - this.#lastDrawn < (this.#stream.isTTY ? redrawEvery : plainEvery)) return
    this.#lastDrawn = Date.now()
    if (this.#stream.isTTY) {
      const width = this.#stream.columns ?? 80
      this.#stream.write(`\r\u001b[2K${truncate(`${bar(fraction)}${text}`, width - 1)}`)
      this.#shown = true
    } else {
      this.#stream.write(`${fraction === undefined ? '' : `${Math.round(fraction * 100)}% `}${text}\n`)
    }
  }

  /** Removes the bar, for other output or for good. */
  clear(): void {
    if (this.#shown) this.#stream.write('\r\u001b[2K')
    this.#shown = false
  }

  /** Prints a line that matters, also when quiet. */
  note(text: string): void {
    this.clear()
    this.#stream.write(`${yellow('note:')} ${text}\n`)
  }

  /** Prints a line above the bar. */
  line(text: string): void {
    this.clear()
    if (!this.#quiet) this.#stream.write(`${text}\n`)
  }
}

function bar(fraction: number | undefined): string {
  if (fraction === undefined) return ''
  const width = 24
  const filled = Math.round(Math.min(1, Math.max(0, fraction)) * width)
  const percent = `${Math.floor(fraction * 100)}%`.padStart(4)
  return `${'━'.repeat(filled)}${'╌'.repeat(width - filled)}${percent}  `
}
