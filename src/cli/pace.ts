// How fast a run goes.

/** Seconds of a step over the last ones, which settle faster than the mean of the run. */
export class Pace {
  readonly #recent: number[] = []

  add(seconds: number): void {
    this.#recent.push(seconds)
    if (this.#recent.length > 20) this.#recent.shift()
  }

  get secondsPerStep(): number {
    return this.#recent.reduce((sum, seconds) => sum + seconds, 0) / Math.max(1, this.#recent.length)
  }
}
