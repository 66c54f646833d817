// Which tokens may come next, as one thread tells it another: the next mask is made while the model computes.
// Shapes: V vocabulary.

import { StoppedError } from '../../errors.ts'

/** A mask takes far less; a thread that is silent for longer has died. */
const mostMilliseconds = 10_000

const failed = -1

/** How many masks there have been, or `failed`; then the last one, a bit for each of V tokens. */
export class TokenMasks {
  readonly buffer: SharedArrayBuffer
  readonly #values: Int32Array

  /** @param of V, or the buffer of the other thread */
  constructor(of: number | SharedArrayBuffer) {
    this.buffer = typeof of === 'number' ? new SharedArrayBuffer(4 + 4 * Math.ceil(of / 32)) : of
    this.#values = new Int32Array(this.buffer)
  }

  get count(): number {
    return Atomics.load(this.#values, 0)
  }

  /** Hands a mask over. */
  put(mask: Int32Array): void {
    this.#values.set(mask.subarray(0, this.#values.length - 1), 1)
    this.#tell(this.count + 1)
  }

  /** Says that there will be no more. */
  fail(): void {
    this.#tell(failed)
  }

  #tell(count: number): void {
    Atomics.store(this.#values, 0, count)
    Atomics.notify(this.#values, 0)
  }

  /** Waits until so many have come; the last one. @throws StoppedError when none comes any more */
  take(count: number): Int32Array {
    for (let seen = this.count; seen < count; seen = this.count)
      if (seen === failed || Atomics.wait(this.#values, 0, seen, mostMilliseconds) === 'timed-out')
        throw new StoppedError('the grammar of the text failed: repeat the request')
    return this.#values.slice(1)
  }
}
