// How fast a run goes.

import type { StepRecord } from '../train/index.ts'

/** Speed over the last steps, which settles faster than the mean of the run. */
export class Pace {
  readonly #recent: { seconds: number; tokensPerSecond: number }[] = []

  add(step: Pick<StepRecord, 'seconds' | 'tokensPerSecond'>): void {
    this.#recent.push(step)
    if (this.#recent.length > 20) this.#recent.shift()
  }

  get secondsPerStep(): number {
    return this.#recent.reduce((sum, step) => sum + step.seconds, 0) / Math.max(1, this.#recent.length)
  }

  get tokensPerSecond(): number {
    const tokens = this.#recent.reduce((sum, step) => sum + step.tokensPerSecond * step.seconds, 0)
    return tokens / this.#recent.reduce((sum, step) => sum + step.seconds, 1e-9)
  }
}
