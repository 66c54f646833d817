// safetensors: an 8-byte little-endian header length, a JSON header, the tensors' bytes.
// Format: github.com/huggingface/safetensors. Files are hostile: everything is bounded before it is believed.

import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { FormatError } from '../errors.ts'
import { openToRead, replaceDurably } from '../files.ts'

/** Element types of the format that we know, with their size in bytes. */
export const safetensorsItemSize = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
} as const

export type SafetensorsDType = keyof typeof safetensorsItemSize

/** Where one tensor lies in its file. */
export interface TensorEntry {
  name: string
  dtype: SafetensorsDType
  shape: number[]
  /** First byte, from the start of the file. */
  offset: number
  /** Length in bytes. */
  length: number
}

export interface SafetensorsHeader {
  tensors: Map<string, TensorEntry>
  metadata: Record<string, string>
}

const maxHeaderBytes = 100_000_000 // the limit of the reference implementation
const maxDimensions = 16

/** Reads and checks a file's header; the tensors' bytes are not read. */
export function readSafetensorsHeader(file: string): SafetensorsHeader {
  const descriptor = openToRead(file)
  try {
    const fileBytes = fstatSync(descriptor).size
    const text = readHeaderText(descriptor, file, fileBytes)
    const dataStart = 8 + Buffer.byteLength(text)
    return parseHeader(text, file, dataStart, fileBytes - dataStart)
  } finally {
    closeSync(descriptor)
  }
}

function readHeaderText(descriptor: number, file: string, fileBytes: number): string {
  const prefix = Buffer.alloc(8)
  if (fileBytes < 8 || readSync(descriptor, prefix, 0, 8, 0) !== 8) {
    throw new FormatError(`is too short to be a safetensors file (${fileBytes} bytes)`, { file })
  }
  const length = prefix.readBigUInt64LE()
  if (length > BigInt(Math.min(maxHeaderBytes, fileBytes - 8))) {
    throw new FormatError(
      `header says it is ${length} bytes long, but the file has ${fileBytes}: it is truncated or not safetensors`,
      { file },
    )
  }
  const header = Buffer.alloc(Number(length))
  readSync(descriptor, header, 0, header.length, 8)
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(header)
  } catch (cause) {
    throw new FormatError('header is not valid UTF-8', { file, cause })
  }
}

function parseHeader(text: string, file: string, dataStart: number, dataBytes: number): SafetensorsHeader {
  const json = parseJson(text, file)
  const tensors = new Map<string, TensorEntry>()
  let metadata: Record<string, string> = {}
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') metadata = parseMetadata(value, file)
    else tensors.set(name, parseEntry(name, value, { file, dataStart, dataBytes }))
  }
  refuseGapsAndOverlaps([...tensors.values()], { file, dataStart, dataBytes })
  return { tensors, metadata }
}

function parseJson(text: string, file: string): object {
  try {
    const json: unknown = JSON.parse(text)
    if (typeof json === 'object' && json !== null && !Array.isArray(json)) return json
  } catch (cause) {
    throw new FormatError('header is not JSON: the file is damaged or not safetensors', { file, cause })
  }
  throw new FormatError('header is not a JSON object', { file })
}

function parseMetadata(value: unknown, file: string): Record<string, string> {
  const isText = (item: unknown): item is string => typeof item === 'string'
  if (typeof value !== 'object' || value === null || !Object.values(value).every(isText)) {
    throw new FormatError('__metadata__ must hold strings only', { file })
  }
  return value as Record<string, string>
}

interface DataSection {
  file: string
  dataStart: number
  dataBytes: number
}

function parseEntry(name: string, value: unknown, { file, dataStart, dataBytes }: DataSection): TensorEntry {
  const fail = (reason: string): never => {
    throw new FormatError(`tensor '${name}': ${reason}`, { file })
  }
  const { dtype, shape, data_offsets } = (value ?? {}) as Record<string, unknown>
  const isSize = (size: unknown): size is number => Number.isSafeInteger(size) && (size as number) >= 0
  if (typeof dtype !== 'string' || !Object.hasOwn(safetensorsItemSize, dtype)) {
    return fail(`dtype ${JSON.stringify(dtype)} is not one of ${Object.keys(safetensorsItemSize).join(', ')}`)
  }
  if (!Array.isArray(shape) || shape.length > maxDimensions || !shape.every(isSize)) {
    return fail(`shape ${JSON.stringify(shape)} is not a list of at most ${maxDimensions} sizes`)
  }
  if (!Array.isArray(data_offsets) || data_offsets.length !== 2 || !data_offsets.every(isSize)) {
    return fail(`data_offsets ${JSON.stringify(data_offsets)} is not a pair of byte positions`)
  }
  const [begin, end] = data_offsets as [number, number]
  if (begin > end || end > dataBytes) {
    return fail(
      `bytes ${begin}..${end} lie outside of the file's ${dataBytes} data bytes: the file is truncated`,
    )
  }
  const bytes = byteLength(dtype as SafetensorsDType, shape)
  if (bytes !== end - begin) {
    return fail(`${dtype} [${shape.join(', ')}] takes ${bytes} bytes, but the header gives it ${end - begin}`)
  }
  return { name, dtype: dtype as SafetensorsDType, shape, offset: dataStart + begin, length: end - begin }
}

/** Bytes of a tensor. Products beyond 2^53 lose digits, but then exceed every file anyway. */
export function byteLength(dtype: SafetensorsDType, shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, safetensorsItemSize[dtype])
}

function refuseGapsAndOverlaps(entries: TensorEntry[], { file, dataStart, dataBytes }: DataSection): void {
  let end = dataStart
  for (const entry of entries.sort((a, b) => a.offset - b.offset || a.length - b.length)) {
    if (entry.offset !== end) {
      const problem = entry.offset < end ? 'overlaps the tensor before it' : 'leaves unused bytes before it'
      throw new FormatError(`tensor '${entry.name}' ${problem}: the header is wrong`, { file })
    }
    end = entry.offset + entry.length
  }
  if (end !== dataStart + dataBytes) {
    throw new FormatError(`${dataStart + dataBytes - end} bytes after the last tensor belong to none`, {
      file,
    })
  }
}

/** A tensor to write: its bytes are asked for when their turn comes, so that one at a time is in memory. */
export interface TensorSource {
  name: string
  dtype: SafetensorsDType
  shape: readonly number[]
  bytes: () => Uint8Array
}

/**
 * Writes a safetensors file and flushes it to the disk. Tensors are ordered by name; the same input gives the same
 * bytes. Returns the file's size.
 */
export function writeSafetensors(
  file: string,
  tensors: Iterable<TensorSource>,
  metadata: Record<string, string> = { format: 'pt' },
): number {
  const sorted = [...tensors].sort((a, b) => (a.name < b.name ? -1 : 1))
  // Beside the file, since the tensors may lie in the very file that is replaced.
  return replaceDurably(file, temporary => writeSorted(temporary, sorted, metadata))
}

function writeSorted(
  file: string,
  sorted: readonly TensorSource[],
  metadata: Record<string, string>,
): number {
  const header = encodeHeader(sorted, metadata)
  const descriptor = openSync(file, 'w')
  try {
    let written = writeAll(descriptor, header)
    for (const source of sorted) {
      const bytes = source.bytes()
      if (bytes.byteLength !== byteLength(source.dtype, source.shape)) {
        throw new FormatError(
          `tensor '${source.name}' has ${bytes.byteLength} bytes, not what its shape takes`,
          { file },
        )
      }
      written += writeAll(descriptor, bytes)
    }
    return written
  } finally {
    closeSync(descriptor)
  }
}

function encodeHeader(tensors: readonly TensorSource[], metadata: Record<string, string>): Buffer {
  const entries: Record<string, unknown> = {}
  if (Object.keys(metadata).length > 0) entries.__metadata__ = metadata
  let offset = 0
  for (const { name, dtype, shape } of tensors) {
    const end = offset + byteLength(dtype, shape)
    entries[name] = { dtype, shape, data_offsets: [offset, end] }
    offset = end
  }
  const json = Buffer.from(JSON.stringify(entries))
  const padded = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ') // data starts at a multiple of 8
  padded.writeBigUInt64LE(BigInt(padded.length - 8))
  json.copy(padded, 8)
  return padded
}

function writeAll(descriptor: number, bytes: Uint8Array): number {
  for (let done = 0; done < bytes.byteLength; ) {
    done += writeSync(descriptor, bytes, done, Math.min(bytes.byteLength - done, 1 << 30))
  }
  return bytes.byteLength
}
