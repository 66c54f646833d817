// Token ids as fairseq-preprocess writes them: PREFIX.idx says where each text lies in PREFIX.bin (MMapIndexedDataset and
// IndexedDataset of fairseq/data/indexed_dataset.py).

import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { FormatError } from '../../errors.ts'

const mmapMagic = 'MMIDIDX\0\0'
const indexedMagic = 'TNTIDX\0\0'

/** Integers by their code. */
const integers: Readonly<Record<number, { bytes: number; read(bytes: Buffer, at: number): number }>> = {
  1: { bytes: 1, read: (bytes, at) => bytes.readUInt8(at) },
  2: { bytes: 1, read: (bytes, at) => bytes.readInt8(at) },
  3: { bytes: 2, read: (bytes, at) => bytes.readInt16LE(at) },
  4: { bytes: 4, read: (bytes, at) => bytes.readInt32LE(at) },
  5: { bytes: 8, read: (bytes, at) => Number(bytes.readBigInt64LE(at)) },
  8: { bytes: 2, read: (bytes, at) => bytes.readUInt16LE(at) },
  9: { bytes: 4, read: (bytes, at) => bytes.readUInt32LE(at) },
  10: { bytes: 8, read: (bytes, at) => Number(bytes.readBigUInt64LE(at)) },
}

/** Far above any text, far below memory. */
const longestText = 2 ** 24

/** Where texts lie. */
interface Index {
  code: number
  /** Tokens of each text, and the bytes at which it begins. */
  sizes: number[]
  offsets: number[]
  /** What ids are moved by: IndexedDataset counts from 1, as Lua does. */
  shift: number
}

/**
 * The texts of a data set, in order.
 *
 * @throws FormatError for files that are damaged or of another kind
 */
export function* readIndexedDataset(prefix: string): Generator<number[]> {
  const { code, sizes, offsets, shift } = readIndex(`${prefix}.idx`)
  const file = `${prefix}.bin`
  const integer = integers[code]
  if (!integer)
    throw new FormatError(`has numbers of type ${code}, which are no integers`, { file: `${prefix}.idx` })
  const { size: available } = statSync(file)
  const descriptor = openSync(file, 'r')
  try {
    for (const [i, size] of sizes.entries()) {
      const [start, length] = [offsets[i] ?? 0, size * integer.bytes]
      if (size < 0 || size > longestText || start < 0 || start + length > available)
        throw new FormatError(
          `text ${i + 1} of ${prefix}.idx would be bytes ${start} to ${start + length}, and there are ${available}: make both again`,
          { file },
        )
      const bytes = Buffer.alloc(length)
      readSync(descriptor, bytes, 0, length, start)
      yield Array.from({ length: size }, (_, t) => integer.read(bytes, t * integer.bytes) + shift)
    }
  } finally {
    closeSync(descriptor)
  }
}

function readIndex(file: string): Index {
  const bytes = readFileSync(file)
  const text = (length: number): string => bytes.toString('latin1', 0, length)
  try {
    if (text(mmapMagic.length) === mmapMagic) return mmapIndex(bytes)
    if (text(indexedMagic.length) === indexedMagic) return indexedIndex(bytes)
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause
    throw new FormatError('ends before its last text: it is damaged', { file, cause })
  }
  throw new FormatError("is no index of fairseq's: make it with --dataset-impl mmap", { file })
}

/** Magic, version, code, count, then sizes (i32) and byte offsets (i64). */
function mmapIndex(bytes: Buffer): Index {
  const header = mmapMagic.length + 8
  const count = Number(bytes.readBigUInt64LE(header + 1))
  const sizesAt = header + 1 + 8
  const each = <T>(at: number, width: number, read: (at: number) => T): T[] => {
    if (count * width > bytes.length - at) throw new RangeError('longer than the file')
    return Array.from({ length: count }, (_, i) => read(at + i * width))
  }
  return {
    code: bytes.readUInt8(header),
    sizes: each(sizesAt, 4, at => bytes.readInt32LE(at)),
    offsets: each(sizesAt + 4 * count, 8, at => Number(bytes.readBigInt64LE(at))),
    shift: 0,
  }
}

/** Magic, version, code, bytes of an element, count, dimensions in all, then places of dimensions and of elements, then the dimensions. */
function indexedIndex(bytes: Buffer): Index {
  const longs = (at: number, count: number): number[] => {
    if (count < 0 || count * 8 > bytes.length - at) throw new RangeError('longer than the file')
    return Array.from({ length: count }, (_, i) => Number(bytes.readBigInt64LE(at + 8 * i)))
  }
  const [code = 0, width = 0, count = 0, dimensions = 0] = longs(indexedMagic.length + 8, 4)
  const dimensionsAt = indexedMagic.length + 40
  const offsetsAt = dimensionsAt + 8 * (count + 1)
  const starts = longs(dimensionsAt, count + 1)
  const all = longs(offsetsAt + 8 * (count + 1), dimensions)
  return {
    code,
    sizes: starts.slice(0, count).map(at => all[at] ?? 0),
    offsets: longs(offsetsAt, count).map(offset => offset * width),
    shift: -1,
  }
}
