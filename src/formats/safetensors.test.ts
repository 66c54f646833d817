import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { FormatError } from '../errors.ts'
import {
  byteLength,
  readSafetensorsHeader,
  type SafetensorsDType,
  safetensorsItemSize,
  writeSafetensors,
} from './index.ts'

const folder = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = join(folder, 'x.safetensors')

/** A file with this header and so many bytes of data. */
function fileWith(header: unknown, dataBytes: number, length?: bigint): string {
  const json = Buffer.isBuffer(header)
    ? header
    : Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(length ?? BigInt(json.length))
  writeFileSync(file, Buffer.concat([prefix, json, Buffer.alloc(dataBytes)]))
  return file
}

function messageOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    expect(error).toBeInstanceOf(FormatError)
    return (error as Error).message
  }
  throw new Error('was accepted')
}

const tensor = fc.record({
  dtype: fc.constantFrom(...(Object.keys(safetensorsItemSize) as SafetensorsDType[])),
  shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }),
})

test('property: what is written is read, byte for byte, whatever names and shapes', () => {
  fc.assert(
    fc.property(
      fc.dictionary(
        fc.string().filter(name => name !== '__metadata__' && name !== '__proto__'),
        tensor,
      ),
      tensors => {
        const contents = new Map(
          Object.entries(tensors).map(([name, { dtype, shape }], i) => [
            name,
            new Uint8Array(byteLength(dtype, shape)).fill(i + 1),
          ]),
        )
        const sources = Object.entries(tensors).map(([name, entry]) => ({
          name,
          ...entry,
          bytes: () => contents.get(name) as Uint8Array,
        }))
        const size = writeSafetensors(file, sources, { origin: 'test' })
        const bytes = readFileSync(file)
        expect(bytes.length).toBe(size)
        const header = readSafetensorsHeader(file)
        expect(header.metadata).toEqual({ origin: 'test' })
        expect([...header.tensors.keys()].sort()).toEqual(Object.keys(tensors).sort())
        for (const { name, dtype, shape, offset, length } of header.tensors.values()) {
          expect({ dtype, shape }).toEqual(tensors[name])
          expect(bytes.subarray(offset, offset + length).equals(contents.get(name) as Uint8Array)).toBe(true)
        }
      },
    ),
    { numRuns: 60 },
  )
})

test('data starts at a multiple of 8, and the same tensors give the same bytes in any order', () => {
  const [a, b] = ['a', 'b'].map(name => ({
    name,
    dtype: 'U8' as const,
    shape: [3],
    bytes: () => Uint8Array.of(1, 2, 3),
  }))
  writeSafetensors(file, [a!, b!])
  const first = readFileSync(file)
  writeSafetensors(file, [b!, a!])
  expect(readFileSync(file).equals(first)).toBe(true)
  expect((8 + Number(first.readBigUInt64LE())) % 8).toBe(0)
})

describe('a lying header is refused before any memory is taken', () => {
  const f32 = (shape: unknown, begin: unknown, end: unknown) => ({
    dtype: 'F32',
    shape,
    data_offsets: [begin, end],
  })
  test.each([
    [
      'a header longer than the file',
      () => fileWith('{}', 0, 1n << 40n),
      'header says it is 1099511627776 bytes long, but the file has 10',
    ],
    [
      'a negative length',
      () => fileWith('{}', 0, (1n << 64n) - 1n),
      'header says it is 18446744073709551615 bytes long',
    ],
    ['no JSON', () => fileWith('{"a":', 0), 'header is not JSON'],
    ['a list for a header', () => fileWith('[]', 0), 'header is not a JSON object'],
    [
      'invalid UTF-8',
      () => fileWith(Buffer.from([0x7b, 0x22, 0xf0, 0x9f, 0x98, 0x22, 0x7d]), 0),
      'header is not valid UTF-8',
    ],
    [
      'data that is cut off',
      () => fileWith({ x: f32([2], 0, 8) }, 4),
      "tensor 'x': bytes 0..8 lie outside of the file's 4 data bytes: the file is truncated",
    ],
    [
      'a shape that does not fit its bytes',
      () => fileWith({ x: f32([3], 0, 8) }, 8),
      "tensor 'x': F32 [3] takes 12 bytes, but the header gives it 8",
    ],
    [
      'a shape whose product overflows',
      () => fileWith({ x: f32([2 ** 40, 2 ** 40], 0, 8) }, 8),
      "tensor 'x': F32 [1099511627776, 1099511627776] takes",
    ],
    [
      'a negative size',
      () => fileWith({ x: f32([-1], 0, 0) }, 0),
      "tensor 'x': shape [-1] is not a list of at most 16 sizes",
    ],
    [
      'a size that is no number',
      () => fileWith({ x: f32(['2'], 0, 8) }, 8),
      'is not a list of at most 16 sizes',
    ],
    [
      'too many dimensions',
      () => fileWith({ x: f32(new Array(17).fill(1), 0, 4) }, 4),
      'is not a list of at most 16 sizes',
    ],
    [
      'an unknown dtype',
      () => fileWith({ x: { ...f32([1], 0, 4), dtype: 'F31' } }, 4),
      'dtype "F31" is not one of BOOL, U8',
    ],
    [
      'a dtype from the prototype',
      () => fileWith({ x: { ...f32([1], 0, 4), dtype: 'toString' } }, 4),
      'dtype "toString" is not one of',
    ],
    ['offsets that run backwards', () => fileWith({ x: f32([0], 4, 0) }, 4), 'bytes 4..0 lie outside'],
    [
      'offsets that are no pair',
      () => fileWith({ x: { dtype: 'F32', shape: [1], data_offsets: [0] } }, 4),
      'data_offsets [0] is not a pair',
    ],
    [
      'overlapping tensors',
      () => fileWith({ a: f32([1], 0, 4), b: f32([1], 0, 4) }, 4),
      "tensor 'b' overlaps the tensor before it",
    ],
    ['a gap', () => fileWith({ a: f32([1], 4, 8) }, 8), "tensor 'a' leaves unused bytes before it"],
    [
      'bytes of no tensor',
      () => fileWith({ a: f32([1], 0, 4) }, 9),
      '5 bytes after the last tensor belong to none',
    ],
    [
      'metadata that is not text',
      () => fileWith({ __metadata__: { a: 1 } }, 0),
      '__metadata__ must hold strings only',
    ],
    ['an entry that is null', () => fileWith({ a: null }, 0), "tensor 'a': dtype undefined is not one of"],
  ])('%s', (_, make, message) => expect(messageOf(() => readSafetensorsHeader(make()))).toContain(message))

  test('a file that is too short, or not there', () => {
    writeFileSync(file, 'abc')
    expect(messageOf(() => readSafetensorsHeader(file))).toContain(
      'is too short to be a safetensors file (3 bytes)',
    )
    expect(messageOf(() => readSafetensorsHeader(join(folder, 'none')))).toContain(
      'cannot be opened (ENOENT)',
    )
  })
})

test('property: no mutation of a valid file crashes, hangs or is half-read', () => {
  writeSafetensors(file, [{ name: 'a', dtype: 'F32', shape: [2, 2], bytes: () => new Uint8Array(16) }])
  const valid = readFileSync(file)
  const mutation = fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 })
  fc.assert(
    fc.property(mutation, fc.nat(valid.length), (edits, cut) => {
      const bytes = Buffer.from(valid)
      for (const [at, value] of edits) bytes[at] = value
      const kept = valid.length - (cut % 40)
      writeFileSync(file, bytes.subarray(0, kept))
      try {
        for (const { offset, length } of readSafetensorsHeader(file).tensors.values()) {
          expect(offset + length).toBeLessThanOrEqual(kept)
        }
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError)
      }
    }),
    { numRuns: 1000 },
  )
})

test('a file can be written from its own mapped tensors', () => {
  writeSafetensors(file, [{ name: 'a', dtype: 'F32', shape: [3], bytes: () => new Uint8Array(12).fill(7) }])
  const [entry] = readSafetensorsHeader(file).tensors.values()
  const descriptor = openSync(file, 'r')
  const bytes = Buffer.alloc(12)
  // What is read while writing must still be the old file.
  const lazily = (): Uint8Array => {
    readSync(descriptor, bytes, 0, 12, entry?.offset ?? 0)
    return bytes
  }
  writeSafetensors(file, [{ name: 'b', dtype: 'F32', shape: [3], bytes: lazily }])
  closeSync(descriptor)
  expect(readFileSync(file).subarray(-12).equals(Buffer.alloc(12, 7))).toBe(true)
})

test('a failure while writing leaves the old file, and nothing beside it', () => {
  writeSafetensors(file, [{ name: 'a', dtype: 'U8', shape: [1], bytes: () => Uint8Array.of(1) }])
  const before = readFileSync(file)
  expect(() =>
    writeSafetensors(file, [{ name: 'a', dtype: 'U8', shape: [2], bytes: () => Uint8Array.of(1) }]),
  ).toThrow('has 1 bytes')
  expect(readFileSync(file).equals(before)).toBe(true)
  expect(readdirSync(folder).filter(name => name.includes('.tmp-'))).toEqual([])
})
