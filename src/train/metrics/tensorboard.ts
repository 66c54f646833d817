// TensorBoard event files: TFRecord framing around protobuf Event messages
// (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto).

import { closeSync, openSync, writeSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { maskedCrc32c } from './crc32c.ts'

/** Writes scalars for TensorBoard. */
export class EventWriter {
  readonly file: string
  readonly #descriptor: number
  readonly #now: () => number

  /**
   * @param folder where TensorBoard looks
   * @param now seconds since 1970, for tests
   */
  constructor(folder: string, now: () => number = () => Date.now() / 1000) {
    const stamp = String(Math.floor(now())).padStart(10, '0')
    this.file = join(folder, `events.out.tfevents.${stamp}.${hostname()}.${process.pid}.0`)
    this.#descriptor = openSync(this.file, 'a')
    this.#now = now
    this.#write(text(3, 'brain.Event:2'))
  }

  /** Scalars of one step by tag. */
  scalars(step: number, values: Readonly<Record<string, number>>): void {
    const summary = Object.entries(values).map(([tag, value]) => message(1, [text(1, tag), float(2, value)]))
    this.#write(integer(2, step), message(5, summary))
  }

  /** Tells TensorBoard to forget what it has from `step` on: a resumed run writes it again. */
  restart(step: number): void {
    const start = 1
    this.#write(integer(2, step), message(7, [integer(1, start)]))
  }

  close(): void {
    closeSync(this.#descriptor)
  }

  #write(...fields: Uint8Array[]): void {
    writeSync(this.#descriptor, frame(Buffer.concat([double(1, this.#now()), ...fields])))
  }
}

/** Length, its CRC, the data, its CRC. */
function frame(data: Buffer): Buffer {
  const record = Buffer.alloc(8 + 4 + data.length + 4)
  record.writeBigUInt64LE(BigInt(data.length))
  record.writeUInt32LE(maskedCrc32c(record.subarray(0, 8)), 8)
  data.copy(record, 12)
  record.writeUInt32LE(maskedCrc32c(data), 12 + data.length)
  return record
}

// Protobuf fields: a key of number and wire type, then the value.

const wire = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 }

function key(field: number, type: number): Uint8Array {
  return varint((field << 3) | type)
}

function varint(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Uint8Array.from([...bytes, rest])
}

const integer = (field: number, value: number): Uint8Array =>
  Buffer.concat([key(field, wire.varint), varint(value)])

function double(field: number, value: number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(value)
  return Buffer.concat([key(field, wire.fixed64), bytes])
}

function float(field: number, value: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeFloatLE(value)
  return Buffer.concat([key(field, wire.fixed32), bytes])
}

function message(field: number, parts: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(parts)
  return Buffer.concat([key(field, wire.bytes), varint(body.length), body])
}

const text = (field: number, value: string): Uint8Array => message(field, [Buffer.from(value)])
