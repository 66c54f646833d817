// A computation of fixed shapes on the CPU, written down operator by operator and run again from native code: what CUDA graphs
// are for a GPU.

import { type NativeTape, native } from './native.ts'
import { Tensor } from './tensor.ts'

/**
 * A computation that was recorded; run() gives what its body would give on what its input tensors hold then. It keeps all tensors
 * that it reads until it is disposed of.
 */
export class Tape implements Disposable {
  readonly #tape: NativeTape

  constructor(tape: NativeTape) {
    this.#tape = tape
  }

  /** Runs it, as the body in inferenceMode(). */
  run(): Tensor[] {
    return native()
      .play(this.#tape)
      .map(handle => new Tensor(handle))
  }

  [Symbol.dispose](): void {
    native().releaseTape(this.#tape)
  }
}

/** Says within a record() that what follows depends on more than tensors: `why` becomes the refusal. */
export function refuseTape(why: string): void {
  native().refuseTape(why)
}

/** What record() gives. */
export interface Recorded {
  /** Of the body, which has run. */
  results: readonly Tensor[]
  /** Null: it cannot be run again. */
  tape: Tape | null
  /** Why there is no tape; empty where there is one. */
  refusal: string
}

/**
 * Runs `body` and writes down the operators that it calls. They can be run again where numbers pass through tensors alone:
 * the body looks at none on the host and takes none from it, no shape follows from data, nothing is drawn. Its input tensors
 * may be written to in between, not replaced. Within inferenceMode().
 */
export function record(body: () => readonly Tensor[]): Recorded {
  let results: readonly Tensor[] = []
  const recorded = native().record(() => {
    results = body()
    return results.map(({ handle }) => handle)
  })
  const isTape = typeof recorded !== 'string'
  return {
    results,
    tape: isTape ? new Tape(recorded) : null,
    refusal: isTape ? '' : recorded,
  }
}
