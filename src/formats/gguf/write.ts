// Writing GGUF version 3. Tensors are asked for one at a time, in order.

import { closeSync, openSync, writeSync } from 'node:fs'
import { FormatError } from '../../errors.ts'
import { replaceDurably } from '../../files.ts'
import { type GgmlTypeName, ggmlByteLength, ggmlTypes } from '../quantization/types.ts'
import { type GgufMetadata, type GgufValue, valueTypes } from './types.ts'

/** A tensor to write. Its bytes come in pieces that follow each other, so that a large one need not be in memory. */
export interface GgufTensorSource {
  name: string
  type: GgmlTypeName
  /** Outermost first; at most 4 sizes. */
  shape: readonly number[]
  chunks: () => Iterable<Uint8Array>
}

const alignment = 32

/** Writes a file and flushes it to the disk; the same input gives the same bytes. Returns the file's size. */
export function writeGguf(
  file: string,
  metadata: GgufMetadata,
  tensors: readonly GgufTensorSource[],
): number {
  return replaceDurably(file, temporary => {
    const descriptor = openSync(temporary, 'w')
    try {
      let written = writeAll(descriptor, encodeHeader(metadata, tensors))
      for (const source of tensors) {
        const start = written
        for (const chunk of source.chunks()) written += writeAll(descriptor, chunk)
        const expected = bytesOf(source)
        if (written - start !== expected)
          throw new FormatError(`tensor '${source.name}' gave ${written - start} bytes, not ${expected}`, {
            file,
          })
        written += writeAll(descriptor, new Uint8Array(paddingAfter(written)))
      }
      return written
    } finally {
      closeSync(descriptor)
    }
  })
}

const paddingAfter = (position: number): number => (alignment - (position % alignment)) % alignment

function bytesOf({ type, shape }: GgufTensorSource): number {
  const rows = shape.slice(0, -1).reduce((product, size) => product * size, 1)
  return ggmlByteLength(type, shape.at(-1) ?? 1, rows)
}

function encodeHeader(metadata: GgufMetadata, tensors: readonly GgufTensorSource[]): Buffer {
  const parts: Buffer[] = [Buffer.from('GGUF'), u32(3), u64(tensors.length), u64(metadata.size)]
  for (const [key, value] of metadata) parts.push(text(key), encodeValue(value))
  let offset = 0
  for (const source of tensors) {
    const { name, type, shape } = source
    parts.push(text(name), u32(shape.length), ...[...shape].reverse().map(u64))
    parts.push(u32(ggmlTypes[type].id), u64(offset))
    const end = offset + bytesOf(source)
    offset = end + paddingAfter(end)
  }
  const header = Buffer.concat(parts)
  return Buffer.concat([header, Buffer.alloc(paddingAfter(header.length))])
}

function encodeValue(value: GgufValue): Buffer {
  const type = u32(valueTypes.indexOf(value.type))
  if (value.type !== 'array') return Buffer.concat([type, encodeScalar(value.type, value.value)])
  const items = value.value.map(item => encodeScalar(value.of, item))
  return Buffer.concat([type, u32(valueTypes.indexOf(value.of)), u64(items.length), ...items])
}

type ScalarValue = Exclude<GgufValue, { type: 'array' }>

function encodeScalar(type: ScalarValue['type'], value: ScalarValue['value']): Buffer {
  if (type === 'string') return text(String(value))
  if (type === 'u64') return u64(value as number | bigint)
  if (type === 'bool') return Buffer.of(value ? 1 : 0)
  const bytes = Buffer.alloc(8)
  const number = Number(value)
  switch (type) {
    case 'u8':
      return bytes.subarray(0, bytes.writeUInt8(number))
    case 'i8':
      return bytes.subarray(0, bytes.writeInt8(number))
    case 'u16':
      return bytes.subarray(0, bytes.writeUInt16LE(number))
    case 'i16':
      return bytes.subarray(0, bytes.writeInt16LE(number))
    case 'u32':
      return bytes.subarray(0, bytes.writeUInt32LE(number))
    case 'i32':
      return bytes.subarray(0, bytes.writeInt32LE(number))
    case 'f32':
      return bytes.subarray(0, bytes.writeFloatLE(number))
    case 'f64':
      return bytes.subarray(0, bytes.writeDoubleLE(number))
    case 'i64':
      return bytes.subarray(0, bytes.writeBigInt64LE(BigInt(value)))
  }
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function u64(value: number | bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return bytes
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([u64(bytes.length), bytes])
}

function writeAll(descriptor: number, bytes: Uint8Array): number {
  for (let done = 0; done < bytes.byteLength; ) {
    done += writeSync(descriptor, bytes, done, Math.min(bytes.byteLength - done, 1 << 30))
  }
  return bytes.byteLength
}
