// Numbers and strings one after the other from a file, without ever reading past its end or trusting a length.

import { readSync } from 'node:fs'
import { FormatError } from '../../errors.ts'
import type { ScalarType } from './types.ts'

const windowBytes = 1 << 20

/** Bytes of a scalar in a file; a string takes at least its length. */
export const scalarBytes: Readonly<Record<ScalarType, number>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  string: 8,
  u64: 8,
  i64: 8,
  f64: 8,
}

export class ByteReader {
  readonly file: string
  readonly #descriptor: number
  readonly #end: number
  #window = Buffer.alloc(0)
  #windowStart = 0
  position = 0

  /** @param end no byte from here on is read */
  constructor(descriptor: number, file: string, end: number) {
    this.#descriptor = descriptor
    this.file = file
    this.#end = end
  }

  get remaining(): number {
    return this.#end - this.position
  }

  fail(problem: string): never {
    throw new FormatError(`${problem} (at byte ${this.position})`, { file: this.file })
  }

  u32(what: string): number {
    return this.#take(4, what).readUInt32LE()
  }

  /** A u64 that a count or length must not exceed. */
  size(what: string, most: number): number {
    const value = this.#take(8, what).readBigUInt64LE()
    if (value > BigInt(most)) this.fail(`${what} says ${value}, but at most ${most} fit: the file is damaged`)
    return Number(value)
  }

  string(what: string): string {
    const bytes = this.#take(this.size(`${what}'s length`, this.remaining - 8), what)
    return bytes.toString('utf8')
  }

  scalar(type: ScalarType, what: string): number | bigint | boolean | string {
    if (type === 'string') return this.string(what)
    const bytes = this.#take(scalarBytes[type], what)
    switch (type) {
      case 'u8':
        return bytes.readUInt8()
      case 'i8':
        return bytes.readInt8()
      case 'u16':
        return bytes.readUInt16LE()
      case 'i16':
        return bytes.readInt16LE()
      case 'u32':
        return bytes.readUInt32LE()
      case 'i32':
        return bytes.readInt32LE()
      case 'f32':
        return bytes.readFloatLE()
      case 'f64':
        return bytes.readDoubleLE()
      case 'bool':
        return bytes.readUInt8() !== 0
      case 'u64':
        return exact(bytes.readBigUInt64LE())
      case 'i64':
        return exact(bytes.readBigInt64LE())
    }
  }

  /** The next `length` bytes, valid until the next call. */
  #take(length: number, what: string): Buffer {
    if (length > this.remaining) this.fail(`ends within ${what}: the file is truncated or no GGUF`)
    let start = this.position - this.#windowStart
    if (start + length > this.#window.length) {
      this.#fill(Math.max(length, Math.min(windowBytes, this.remaining)))
      start = 0
    }
    this.position += length
    return this.#window.subarray(start, start + length)
  }

  #fill(length: number): void {
    const window = Buffer.alloc(length)
    for (let done = 0; done < length; ) {
      const read = readSync(this.#descriptor, window, done, length - done, this.position + done)
      if (read === 0) this.fail('ends early: the file was cut off while it was read')
      done += read
    }
    this.#window = window
    this.#windowStart = this.position
  }
}

const exact = (value: bigint): number | bigint =>
  value <= BigInt(Number.MAX_SAFE_INTEGER) && value >= BigInt(Number.MIN_SAFE_INTEGER) ? Number(value) : value
