// Where copies between host and device are put: beside the computation on CUDA, at once on a CPU.

import { empty } from '../create.ts'
import type { Device, DType } from '../dtype.ts'
import { Tensor } from '../tensor.ts'
import { cuda } from './device.ts'
import { CudaEvent, CudaStream } from './stream.ts'

/** A point behind copies that were started. */
export interface CopyMark {
  /** Whether they are done; nobody waits. */
  readonly isDone: boolean
  /** The host waits for them. */
  wait(): void
  /** What is computed from now on waits for them; the host does not. */
  block(): void
}

/** Takes copies in order. */
export interface CopyQueue {
  /** Host memory that copies can be started from without waiting. */
  staging(shape: readonly number[], dtype: DType): Tensor
  /** Memory on the device that may be written by the queue at once. */
  target(shape: readonly number[], dtype: DType): Tensor
  /** Starts a copy between memory of both sides. */
  copy(to: Tensor, from: Tensor): void
  mark(): CopyMark
  /** A point behind what is computed so far. */
  computed(): CopyMark
  /** Copies from now on wait for such a point; the host does not. */
  follow(computed: CopyMark): void
}

/** The queue of a device. */
export function copyQueue(device: Device): CopyQueue {
  return device === 'cpu' ? immediately : new StreamQueue(device)
}

const done: CopyMark = { isDone: true, wait: () => undefined, block: () => undefined }

const immediately: CopyQueue = {
  staging: (shape, dtype) => empty(shape, { dtype }),
  target: (shape, dtype) => empty(shape, { dtype }),
  copy: (to, from) => void to.copy_(from),
  mark: () => done,
  computed: () => done,
  follow: () => undefined,
}

/** A side stream, fed from pinned memory. */
class StreamQueue implements CopyQueue {
  readonly #device: Device
  readonly #stream: CudaStream

  constructor(device: Device) {
    this.#device = device
    this.#stream = new CudaStream(device)
  }

  staging(shape: readonly number[], dtype: DType): Tensor {
    return new Tensor(cuda().pinned(shape, dtype))
  }

  target(shape: readonly number[], dtype: DType): Tensor {
    const tensor = empty(shape, { dtype, device: this.#device })
    this.#stream.follow() // the memory may be what a computation that has not ended yet reads
    this.#stream.keep(tensor)
    return tensor
  }

  copy(to: Tensor, from: Tensor): void {
    this.#stream.run(() => to.copy_(from, true))
  }

  mark(): CudaEvent {
    return this.#stream.record()
  }

  computed(): CudaEvent {
    return new CudaEvent()
  }

  follow(computed: CopyMark): void {
    if (computed instanceof CudaEvent) computed.block(this.#stream)
  }
}
