// GGUF: metadata and tensors of one file, little-endian (ggml/docs/gguf.md). Files are hostile: every count, length,
// dimension and offset is bounded by the file before memory is taken for it.

import { closeSync, fstatSync } from 'node:fs'
import { FormatError } from '../../errors.ts'
import { openToRead } from '../../files.ts'
import { type GgmlTypeName, ggmlByteLength, ggmlTypeOf, ggmlTypes } from '../quantization/types.ts'
import { ByteReader, scalarBytes } from './byte-reader.ts'
import {
  type GgufMetadata,
  type GgufTensor,
  type GgufValue,
  type Scalar,
  type ScalarType,
  valueTypes,
} from './types.ts'

export interface GgufHeader {
  version: number
  alignment: number
  metadata: GgufMetadata
  tensors: Map<string, GgufTensor>
}

const magic = 0x46554747 // "GGUF"
const maxHeaderBytes = 64 << 20
/** Of all arrays together: each takes more in memory than in the file. */
const maxArrayElements = 1 << 23
const maxNameBytes = 64 << 10
const maxDimensions = 4
const leastValueBytes = 8 + 4 + 1
const leastTensorBytes = 8 + 4 + 8 + 4 + 8
const maxAlignment = 1 << 16

/** Reads and checks a file's header; tensor data is not read. */
export function readGgufHeader(file: string): GgufHeader {
  const descriptor = openToRead(file)
  try {
    const fileBytes = fstatSync(descriptor).size
    const reader = new ByteReader(descriptor, file, Math.min(fileBytes, maxHeaderBytes))
    return parse(reader, fileBytes)
  } finally {
    closeSync(descriptor)
  }
}

function parse(reader: ByteReader, fileBytes: number): GgufHeader {
  const version = checkVersion(reader)
  const tensorCount = reader.size('the number of tensors', Math.floor(reader.remaining / leastTensorBytes))
  const valueCount = reader.size(
    'the number of metadata values',
    Math.floor(reader.remaining / leastValueBytes),
  )
  const metadata = readMetadata(reader, valueCount)
  const alignment = alignmentOf(metadata, reader)
  const infos = Array.from({ length: tensorCount }, () => readTensorInfo(reader))
  const dataStart = Math.ceil(reader.position / alignment) * alignment
  const tensors = place(infos, { file: reader.file, dataStart, alignment, fileBytes })
  return { version, alignment, metadata, tensors }
}

function checkVersion(reader: ByteReader): number {
  if (reader.u32('the magic') !== magic) reader.fail('does not begin with GGUF: it is no GGUF file')
  const version = reader.u32('the version')
  if (version === 2 || version === 3) return version
  const bigEndian = version > 0xffffff ? ', perhaps written for big-endian machines' : ''
  return reader.fail(`is GGUF version ${version}${bigEndian}; versions 2 and 3 can be read`)
}

function readMetadata(reader: ByteReader, count: number): GgufMetadata {
  const metadata: GgufMetadata = new Map()
  let elements = 0
  for (let i = 0; i < count; i++) {
    const key = reader.string(`the name of metadata value ${i}`)
    if (key.length > maxNameBytes) reader.fail(`metadata value ${i} has a name of ${key.length} characters`)
    if (metadata.has(key)) reader.fail(`metadata '${key}' is there twice`)
    const value = readValue(reader, key, maxArrayElements - elements)
    if (value.type === 'array') elements += value.value.length
    metadata.set(key, value)
  }
  return metadata
}

function readValue(reader: ByteReader, key: string, mostElements: number): GgufValue {
  const what = `metadata '${key}'`
  const type = readValueType(reader, what)
  if (type !== 'array') return { type, value: reader.scalar(type, what) }
  const of = readValueType(reader, what)
  if (of === 'array') return reader.fail(`${what} holds arrays in an array, which no reader takes`)
  return { type, of, value: readArray(reader, of, what, mostElements) }
}

function readArray(reader: ByteReader, of: ScalarType, what: string, most: number): Scalar[] {
  const fitting = Math.floor((reader.remaining - 8) / scalarBytes[of])
  const length = reader.size(`${what}'s length`, Math.max(0, Math.min(fitting, most)))
  return Array.from({ length }, () => reader.scalar(of, what))
}

function readValueType(reader: ByteReader, what: string) {
  const id = reader.u32(`${what}'s type`)
  return valueTypes[id] ?? reader.fail(`${what} has the unknown type ${id}`)
}

function alignmentOf(metadata: GgufMetadata, reader: ByteReader): number {
  const value = metadata.get('general.alignment')?.value ?? 32
  const isPower =
    typeof value === 'number' && value >= 1 && value <= maxAlignment && Number.isInteger(Math.log2(value))
  return isPower
    ? value
    : reader.fail(`general.alignment is ${String(value)}; it must be a power of two up to ${maxAlignment}`)
}

/** A tensor before its place in the file is checked. */
type TensorInfo = Omit<GgufTensor, 'offset' | 'length'> & { relative: number; bytes: number }

function readTensorInfo(reader: ByteReader): TensorInfo {
  const name = reader.string('a tensor name')
  if (name.length > maxNameBytes) reader.fail(`a tensor has a name of ${name.length} characters`)
  const dimensions = reader.u32(`the dimensions of '${name}'`)
  if (dimensions < 1 || dimensions > maxDimensions)
    reader.fail(`tensor '${name}' has ${dimensions} dimensions; 1 to ${maxDimensions} are possible`)
  const sizes = Array.from({ length: dimensions }, () =>
    reader.size(`a size of tensor '${name}'`, Number.MAX_SAFE_INTEGER),
  )
  const id = reader.u32(`the type of '${name}'`)
  const type = ggmlTypeOf(id) ?? reader.fail(`tensor '${name}' has the unknown type ${id}`)
  const relative = reader.size(`the offset of '${name}'`, Number.MAX_SAFE_INTEGER)
  return { name, type, shape: sizes.reverse(), relative, bytes: byteLengthOf(name, type, sizes, reader) }
}

/** @param shape outermost first */
function byteLengthOf(
  name: string,
  type: GgmlTypeName,
  shape: readonly number[],
  reader: ByteReader,
): number {
  const rowLength = shape.at(-1) ?? 1
  const { blockSize } = ggmlTypes[type]
  if (rowLength % blockSize !== 0)
    reader.fail(
      `tensor '${name}' is ${type} with rows of ${rowLength}, which are not whole blocks of ${blockSize}`,
    )
  // Products beyond 2^53 lose digits, but then exceed every file anyway.
  return ggmlByteLength(
    type,
    rowLength,
    shape.slice(0, -1).reduce((product, size) => product * size, 1),
  )
}

interface DataSection {
  file: string
  dataStart: number
  alignment: number
  fileBytes: number
}

function place(infos: readonly TensorInfo[], section: DataSection): Map<string, GgufTensor> {
  const tensors = new Map<string, GgufTensor>()
  let end = 0
  for (const info of [...infos].sort((a, b) => a.relative - b.relative)) {
    const fail = (problem: string): never => {
      throw new FormatError(`tensor '${info.name}' ${problem}`, { file: section.file })
    }
    const { relative, bytes, ...rest } = info
    if (tensors.has(info.name)) fail('is there twice')
    if (relative % section.alignment !== 0) fail(`begins at ${relative}, no multiple of ${section.alignment}`)
    if (relative < end) fail('overlaps the tensor before it: the header is wrong')
    const offset = section.dataStart + relative
    if (offset + bytes > section.fileBytes)
      fail(`takes bytes ${offset}..${offset + bytes}, but the file has ${section.fileBytes}: it is truncated`)
    tensors.set(info.name, { ...rest, offset, length: bytes })
    end = relative + bytes
  }
  return tensors
}
