// Uploads of large tensors beside the computation, through a few staging buffers: how experts come to the device while others
// compute.

import { ConfigError } from '../../errors.ts'
import type { Device } from '../dtype.ts'
import type { Tensor } from '../tensor.ts'
import { noGrad, tidy } from '../tidy.ts'
import { type CopyMark, type CopyQueue, copyQueue } from './copy-queue.ts'

/** A tensor on its way. */
export interface Upload {
  /** On the device; hold it until the copy is done or used. Whoever reads it calls use() first. */
  readonly tensor: Tensor
  /** Whether the copy is done; nobody waits. */
  readonly isDone: boolean
  /** The tensor, which what is computed from now on waits for; the host does not. */
  use(): Tensor
}

export interface CopyLaneOptions {
  device: Device
  /** Staging buffers, 2 or more to fill one while another is sent. Default 2. */
  buffers?: number
  /** Bytes of each buffer. Default 32 MiB. */
  bufferBytes?: number
  /** Default: the device's. */
  queue?: CopyQueue
}

export interface CopyCounts {
  uploads: number
  bytes: number
  /** How often the host waited, since all buffers were on their way. */
  waits: number
}

interface StagingBuffer {
  bytes: Tensor
  /** Behind the copy that it was last used for. */
  sent: CopyMark | null
}

const usual = { buffers: 2, bufferBytes: 32 << 20 }

/** What the buffers of a lane take that is not told otherwise. */
export const stagingBytes = usual.buffers * usual.bufferBytes

/** Sends tensors to a device in pieces of a staging buffer; a buffer is filled again when its last copy is done. */
export class CopyLane {
  readonly counts: CopyCounts = { uploads: 0, bytes: 0, waits: 0 }
  readonly #queue: CopyQueue
  readonly #buffers: StagingBuffer[]
  readonly #bufferBytes: number
  #next = 0

  constructor(options: CopyLaneOptions) {
    const { device, buffers, bufferBytes, queue = copyQueue(device) } = { ...usual, ...options }
    if (!Number.isInteger(buffers) || buffers < 1 || !Number.isInteger(bufferBytes) || bufferBytes < 16) {
      throw new ConfigError(`needs whole buffers of at least 16 bytes, got ${buffers} of ${bufferBytes}`, {
        path: 'copyLane',
      })
    }
    this.#queue = queue
    this.#bufferBytes = bufferBytes
    this.#buffers = Array.from({ length: buffers }, () => ({
      bytes: queue.staging([bufferBytes], 'u8').persist(),
      sent: null,
    }))
  }

  /**
   * Starts to send a tensor. The source has been read when this returns; it may be mapped from a file. Waits for a
   * buffer when all are on their way, which bounds what is in flight.
   */
  upload(source: Tensor): Upload {
    const target = this.#queue.target(source.shape, source.dtype)
    const mark = this.#send(source, target)
    return {
      tensor: target,
      get isDone() {
        return mark.isDone
      },
      use: () => {
        mark.block()
        return target
      },
    }
  }

  /**
   * As upload(), into memory that is there: contiguous, of the source's shape and type.
   *
   * @param after what reads that memory still, as computed() said when it was begun; null: nothing does
   * @returns what whoever reads the memory next waits for, by block()
   */
  refill(target: Tensor, source: Tensor, after: CopyMark | null): CopyMark {
    if (after) this.#queue.follow(after)
    return this.#send(source, target)
  }

  /** A point behind what is computed so far, for refill(). */
  computed(): CopyMark {
    return this.#queue.computed()
  }

  #send(source: Tensor, target: Tensor): CopyMark {
    noGrad(() => tidy(() => this.#sendBytes(bytesOf(source.detach().contiguous()), bytesOf(target))))
    this.counts.uploads++
    return this.#queue.mark()
  }

  #sendBytes(from: Tensor, to: Tensor): void {
    for (let at = 0; at < from.numel; at += this.#bufferBytes) {
      const length = Math.min(this.#bufferBytes, from.numel - at)
      const buffer = this.#freeBuffer()
      const staged = buffer.bytes.narrow(0, 0, length)
      staged.copy_(from.narrow(0, at, length))
      this.#queue.copy(to.narrow(0, at, length), staged)
      buffer.sent = this.#queue.mark()
      this.counts.bytes += length
    }
  }

  /** The buffer that was sent first. */
  #freeBuffer(): StagingBuffer {
    const buffer = this.#buffers[this.#next] as StagingBuffer
    this.#next = (this.#next + 1) % this.#buffers.length
    if (buffer.sent && !buffer.sent.isDone) {
      this.counts.waits++
      buffer.sent.wait()
    }
    return buffer
  }

  /** Waits for what is on its way, and frees the buffers. */
  dispose(): void {
    for (const { bytes, sent } of this.#buffers) {
      sent?.wait()
      bytes.dispose()
    }
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** u8 [bytes], a view */
const bytesOf = (tensor: Tensor): Tensor => tensor.view([-1]).viewDtype('u8')
