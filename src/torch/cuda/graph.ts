// CUDA graphs: a computation of fixed shapes, recorded once and started as a whole.

import { TorchError } from '../../errors.ts'
import type { Device } from '../dtype.ts'
import type { NativeGraph } from '../native.ts'
import { tensorsIn, tidy } from '../tidy.ts'
import { cuda } from './device.ts'
import { CudaEvent, CudaStream } from './stream.ts'

/** A computation that cannot be a graph: it waits for the device, or copies from the host. */
export class NotReplayable extends TorchError {
  override readonly name = 'NotReplayable'
}

/** Says what a graph refuses. */
function refusing<T>(body: () => T): T {
  try {
    return body()
  } catch (cause) {
    const [reason = ''] = (cause as Error).message.split('\n')
    if (!/captur|synchronizing/i.test(reason)) throw cause
    throw new NotReplayable(
      `a graph cannot hold what waits for the device or copies from the host: ${reason}`,
      {},
    )
  }
}

/** Of each device one for all graphs: libraries keep memory for every stream that they have seen. */
const streams = new Map<Device, CudaStream>()

function streamOf(device: Device): CudaStream {
  const stream = streams.get(device) ?? new CudaStream(device)
  streams.set(device, stream)
  return stream
}

/** A computation that can be started again on the same memory. */
export interface Replay<T> extends Disposable {
  run(): T
}

/** How often a computation is run to try it out before it is recorded. */
export const warmups = 2

/** Makes `body` replayable on its device: a CUDA graph, or on a CPU the body itself, which is tried out all the same. */
export function replayable<T>(body: () => T, device: Device): Replay<T> {
  if (device !== 'cpu') return new CudaGraph(body, device)
  for (let i = 0; i < warmups; i++) tidy(() => void body())
  return { run: body, [Symbol.dispose]: () => undefined }
}

/**
 * A computation that run() starts again on the same memory: it reads what its input tensors hold then, and writes its result
 * and everything else that it wrote when it was recorded. It must not look at numbers on the host nor copy from it.
 */
export class CudaGraph<T> implements Replay<T> {
  /** Where run() leaves the result, whose tensors belong to the graph. */
  readonly result: T
  readonly #graph: NativeGraph

  /**
   * @param body run twice on a side stream first, in which libraries choose their ways and take their memory, then once for
   *   the record, when nothing is computed. Its state changes only through tensors
   * @throws NotReplayable when the body waits for the device
   */
  constructor(body: () => T, device: Device = 'cuda') {
    const stream = streamOf(device)
    stream.follow()
    this.#graph = cuda().graph()
    try {
      this.result = stream.run(() => {
        for (let i = 1; i < warmups; i++) tidy(() => void body())
        return refusing(() => {
          // A capture that breaks leaves the generator of random numbers unusable: what would break it is to show before.
          cuda().refuseWaits(() => tidy(() => void body()))
          return this.#record(body)
        })
      })
    } finally {
      new CudaEvent(stream).block()
    }
  }

  #record(body: () => T): T {
    let made: T | null = null
    cuda().capture(this.#graph, () => {
      made = tidy(body)
    })
    const result = made as unknown as T
    for (const tensor of tensorsIn(result)) tensor.persist()
    return result
  }

  /** Starts the computation; the host does not wait. */
  run(): T {
    cuda().replay(this.#graph)
    return this.result
  }

  /** Gives the graph's memory back. */
  dispose(): void {
    for (const tensor of tensorsIn(this.result)) tensor.dispose()
    cuda().resetGraph(this.#graph)
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}
