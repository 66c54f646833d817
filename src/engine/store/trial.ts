// Whether reading ahead pays, which depends on the disk, on what else the processor has to do and on the text: tokens are
// timed with it and without, the quicker way is kept for a while, and then both are timed again.
//
// Time is what counts in the end. Bytes read in vain say less: they cost nothing where the disk was idle, and even a right
// guess costs more than it gives where reads keep the processor from computing.

/** What a trial has found, in seconds of a token. */
export interface Verdict {
  isOn: boolean
  with: number
  without: number
}

/** What decides whether guesses are made now. */
export interface Trial {
  readonly isOn: boolean
  /** What was found; null: nothing yet. */
  readonly verdict: Verdict | null
  /** A token begins to pass the layers; where it does not end, it does not count. */
  begin(): void
  end(): void
}

/** Guesses are always made. */
export const alwaysOn: Trial = { isOn: true, verdict: null, begin() {}, end() {} }

/** With, without, without, with: what grows quicker or slower all the time favours neither. */
const stretches = [true, false, false, true]
/** Tokens of each; the first finds what the stretch before it has left, and does not count. */
const stretchLength = 8
const trialLength = stretches.length * stretchLength

/** Tokens until both ways are timed again; twice as many each time that the same one wins, up to the most. */
const shortestRest = 256
const longestRest = 4096

export class TimedTrial implements Trial {
  verdict: Verdict | null = null
  readonly #clock: () => number
  #seconds: Record<'with' | 'without', number[]> = { with: [], without: [] }
  #started: number | null = null
  #tokens = 0
  #rest = shortestRest

  /** @param clock in seconds */
  constructor(clock: () => number = () => performance.now() / 1000) {
    this.#clock = clock
  }

  get isOn(): boolean {
    return stretches[Math.floor(this.#tokens / stretchLength)] ?? this.verdict?.isOn ?? true
  }

  begin(): void {
    this.#started = this.#clock()
  }

  end(): void {
    if (this.#started === null) return
    if (this.#tokens < trialLength && this.#tokens % stretchLength > 0)
      this.#seconds[this.isOn ? 'with' : 'without'].push(this.#clock() - this.#started)
    this.#started = null
    this.#tokens += 1
    if (this.#tokens === trialLength) this.#decide()
    if (this.#tokens === trialLength + this.#rest) this.#tokens = 0
  }

  #decide(): void {
    const [ahead, alone] = [median(this.#seconds.with), median(this.#seconds.without)]
    const isOn = ahead < alone
    const isConfirmed = this.verdict?.isOn === isOn
    this.#rest = isConfirmed ? Math.min(longestRest, 2 * this.#rest) : shortestRest
    this.verdict = { isOn, with: ahead, without: alone }
    this.#seconds = { with: [], without: [] }
  }
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[sorted.length >> 1] as number
}
