// CUDA graphs: a computation of fixed shapes, recorded once and started as a whole.

import { TorchError } from '../../errors.ts'
import type { Device } from '../dtype.ts'
import type { NativeGraph } from '../native.ts'
import type { Tensor } from '../tensor.ts'
import { tidy } from '../tidy.ts'
import { cuda } from './device.ts'
import { CudaEvent, CudaStream } from './stream.ts'

/**
 * A computation that run() starts again on the same memory: it reads what its input tensors hold then, and writes its result
 * and everything else that it wrote when it was recorded. It must not look at numbers on the host nor copy from it.
 */
export class CudaGraph<T extends Tensor | readonly Tensor[]> {
  /** Where run() leaves the result; it belongs to the graph. */
  readonly result: T
  readonly #graph: NativeGraph

  /**
   * @param body run `warmups` times on a side stream first, in which libraries choose their ways and take their memory,
   *   then once for the record, when nothing is computed. Its state changes only through tensors
   * @param warmups at least 1; default 2
   * @throws TorchError saying so when the body waits for the device
   */
  constructor(body: () => T, { device = 'cuda' as Device, warmups = 2 } = {}) {
    const stream = new CudaStream(device)
    stream.follow()
    this.#graph = cuda().graph()
    this.result = stream.run(() => {
      for (let i = 0; i < warmups; i++) tidy(() => void body())
      return this.#record(body)
    })
    new CudaEvent(stream).block()
  }

  #record(body: () => T): T {
    let made: T | null = null
    try {
      cuda().capture(this.#graph, () => {
        made = tidy(body)
      })
    } catch (cause) {
      if (!/captur/i.test((cause as Error).message)) throw cause
      const reason = (cause as Error).message.split('\n')[0]
      throw new TorchError(
        `a graph cannot hold what waits for the device or copies from the host: ${reason}`,
        {},
      )
    }
    const result = made as unknown as T
    for (const tensor of resultsOf(result)) tensor.persist()
    return result
  }

  /** Starts the computation; the host does not wait. */
  run(): T {
    cuda().replay(this.#graph)
    return this.result
  }

  /** Gives the graph's memory back. */
  dispose(): void {
    for (const tensor of resultsOf(this.result)) tensor.dispose()
    cuda().resetGraph(this.#graph)
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

const resultsOf = (result: Tensor | readonly Tensor[]): readonly Tensor[] =>
  Array.isArray(result) ? (result as readonly Tensor[]) : [result as Tensor]
