// A progress line: redrawn in place on a terminal, a plain line now and then elsewhere, nothing when quiet.

import { truncate, visibleLength, yellow } from './terminal.ts'

const redrawEvery = 100 // ms
const plainEvery = 10_000 // ms
const longestBar = 24
const shortestBar = 8

export interface ProgressOptions {
  quiet?: boolean
  /** Default: stderr, so that stdout stays clean for results. */
  stream?: NodeJS.WriteStream
}

export class Progress {
  readonly #stream: NodeJS.WriteStream
  readonly #quiet: boolean
  /** Quick work shows no bar at all: the clock starts when the work does. */
  #lastShown = Date.now()
  #drawn = false

  constructor({ quiet = false, stream = process.stderr }: ProgressOptions = {}) {
    this.#stream = stream
    this.#quiet = quiet
  }

  /** Columns of the terminal. */
  get width(): number {
    return this.#stream.columns ?? 80
  }

  /** Shows how far things are: a bar (none when undefined) and texts beside it, the most important one first. */
  update(fraction: number | undefined, ...texts: readonly string[]): void {
    const { isTTY } = this.#stream
    if (this.#quiet || Date.now() - this.#lastShown < (isTTY ? redrawEvery : plainEvery)) return
    this.#lastShown = Date.now()
    this.#drawn = isTTY
    if (isTTY) this.#stream.write(`\r\u001b[2K${progressLine(fraction, texts, this.width - 1)}`)
    else this.#stream.write(`${[fraction === undefined ? [] : percent(fraction), texts].flat().join('  ')}\n`)
  }

  /** Removes the bar, for other output or for good. */
  clear(): void {
    if (this.#drawn) this.#stream.write('\r\u001b[2K')
    this.#drawn = false
  }

  /** Prints a line that matters, also when quiet. */
  note(text: string): void {
    this.clear()
    this.#stream.write(`${yellow('note:')} ${text}\n`)
  }

  /** Prints a line above the bar: on a terminal, as many of the texts as fit beside the first. */
  line(...texts: readonly string[]): void {
    this.clear()
    if (this.#quiet) return
    const shown = this.#stream.isTTY ? fitting(texts, this.width) : texts
    this.#stream.write(`${shown.join('  ')}\n`)
    if (!this.#stream.isTTY) this.#lastShown = Date.now()
  }
}

/** A line of at most `width` columns: as many of the texts as fit, and the bar in what they leave. */
export function progressLine(fraction: number | undefined, texts: readonly string[], width: number): string {
  if (fraction === undefined) return truncate(texts.join('  '), width)
  const share = percent(fraction).padStart(4)
  const room = width - share.length - 2
  const shown = fitting(texts, room - shortestBar).join('  ')
  const barWidth = Math.min(longestBar, room - visibleLength(shown))
  return truncate(`${barWidth < shortestBar ? '' : bar(fraction, barWidth)}${share}  ${shown}`, width)
}

/** The first texts that fit beside each other; at least one. */
function fitting(texts: readonly string[], width: number): readonly string[] {
  const count = texts.findIndex((_, i) => visibleLength(texts.slice(0, i + 1).join('  ')) > width)
  return count === -1 ? texts : texts.slice(0, Math.max(1, count))
}

function bar(fraction: number, width: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, fraction)) * width)
  return `${'━'.repeat(filled)}${'╌'.repeat(width - filled)}`
}

const percent = (fraction: number): string => `${Math.floor(fraction * 100)}%`
