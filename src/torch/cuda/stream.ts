// Streams and events: work beside the default stream, and what waits for what.

import type { Device } from '../dtype.ts'
import type { NativeEvent, NativeStream } from '../native.ts'
import type { Tensor } from '../tensor.ts'
import { cuda, deviceNumber } from './device.ts'

/** A point behind the work that a stream was given so far. */
export class CudaEvent {
  readonly #event: NativeEvent

  /** @param stream default: the current one. @param timed whether elapsed() will be asked */
  constructor(stream: CudaStream | null = null, { timed = false } = {}) {
    this.#event = cuda().record(stream?.native ?? null, timed)
  }

  /** Whether the device has come so far; nobody waits. */
  get isDone(): boolean {
    return cuda().isDone(this.#event)
  }

  /** The host waits. */
  wait(): void {
    cuda().waitFor(this.#event)
  }

  /** What is started on a stream from now on waits on the device; the host goes on. Default: the current stream. */
  block(stream: CudaStream | null = null): void {
    cuda().block(this.#event, stream?.native ?? null)
  }

  /** Milliseconds from an earlier timed event to this one, for which the host waits. */
  since(earlier: CudaEvent): number {
    return cuda().elapsed(earlier.#event, this.#event)
  }
}

/** An order of work on the device, beside the default one. */
export class CudaStream {
  /** For the other parts of this folder. */
  readonly native: NativeStream

  constructor(device: Device = 'cuda') {
    this.native = cuda().stream(deviceNumber(device))
  }

  /** What `body` starts is put on this stream. */
  run<T>(body: () => T): T {
    return cuda().onStream(this.native, body)
  }

  /** A point behind what is on it. */
  record(options?: { timed?: boolean }): CudaEvent {
    return new CudaEvent(this, options)
  }

  /** Waits, on the device, for what the current stream was given so far. */
  follow(): void {
    new CudaEvent().block(this)
  }

  /** Keeps a tensor's memory from other uses until this stream has done with it, although the tensor may be disposed before. */
  keep(tensor: Tensor): void {
    cuda().usedOn(tensor.handle, this.native)
  }
}
