// Windows: the stretches of packed tokens that training reads, and where in which shard each one lies.

import { ConfigError } from '../errors.ts'

/** Where a window begins. */
export interface WindowPlace {
  shard: number
  /** First token, from the start of the shard. */
  offset: number
}

/**
 * Cuts shards into windows of `sequenceLength + 1` tokens (inputs, and the same shifted by one as targets). A window's
 * last token is the next one's first, so that every token is a target once. None crosses a shard's end: up to
 * `sequenceLength` tokens there are left out.
 */
export class WindowMap {
  readonly sequenceLength: number
  /** Windows before each shard, and in all. */
  readonly #before: number[] = [0]

  constructor(shardTokens: readonly number[], sequenceLength: number) {
    if (!Number.isSafeInteger(sequenceLength) || sequenceLength < 1) {
      throw new ConfigError(`must be at least 1, got ${sequenceLength}`, { path: 'sequenceLength' })
    }
    this.sequenceLength = sequenceLength
    for (const tokens of shardTokens) {
      this.#before.push(this.count + Math.max(0, Math.floor((tokens - 1) / sequenceLength)))
    }
  }

  /** How many windows there are. */
  get count(): number {
    return this.#before.at(-1)!
  }

  locate(window: number): WindowPlace {
    if (!Number.isSafeInteger(window) || window < 0 || window >= this.count) {
      throw new RangeError(`window ${window} is not one of ${this.count}`)
    }
    const shard = lastAtMost(this.#before, window)
    return { shard, offset: (window - this.#before[shard]!) * this.sequenceLength }
  }
}

/** Index of the last item of an ascending list that is at most `value`; -1 when all are greater. */
export function lastAtMost(ascending: ArrayLike<number>, value: number): number {
  let low = 0
  let high = ascending.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (ascending[middle]! <= value) low = middle + 1
    else high = middle
  }
  return low - 1
}
