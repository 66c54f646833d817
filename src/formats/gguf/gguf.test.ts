import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { FormatError } from '../../errors.ts'
import {
  type GgmlTypeName,
  type GgufMetadata,
  type GgufValue,
  ggmlByteLength,
  ggmlTypes,
  readGgufHeader,
  writeGguf,
} from '../index.ts'

const folder = mkdtempSync(join(tmpdir(), 'switchyard-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = join(folder, 'x.gguf')

const f32 = (length: number): fc.Arbitrary<number> =>
  fc.integer({ min: -length, max: length }).map(Math.fround)
const value: fc.Arbitrary<GgufValue> = fc.oneof(
  fc.record({ type: fc.constant('u32' as const), value: fc.nat() }),
  fc.record({ type: fc.constant('i64' as const), value: fc.maxSafeInteger() }),
  fc.record({ type: fc.constant('u64' as const), value: fc.bigInt(1n << 60n, (1n << 64n) - 1n) }),
  fc.record({ type: fc.constant('f32' as const), value: f32(1000) }),
  fc.record({ type: fc.constant('bool' as const), value: fc.boolean() }),
  fc.record({ type: fc.constant('string' as const), value: fc.string({ unit: 'grapheme' }) }),
  fc.record({
    type: fc.constant('array' as const),
    of: fc.constant('string' as const),
    value: fc.array(fc.string()),
  }),
  fc.record({
    type: fc.constant('array' as const),
    of: fc.constant('i16' as const),
    value: fc.array(fc.integer({ min: -32768, max: 32767 })),
  }),
)

const tensor = fc.record({
  type: fc.constantFrom(...(Object.keys(ggmlTypes) as GgmlTypeName[])),
  rows: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 }),
  blocks: fc.integer({ min: 1, max: 2 }),
})

test('property: what is written is read, whatever names, values, types and shapes', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), value, { noNullPrototype: true }),
      fc.dictionary(fc.string(), tensor, { noNullPrototype: true, maxKeys: 5 }),
      (values, tensors) => {
        const metadata: GgufMetadata = new Map(
          Object.entries(values).filter(([key]) => key !== 'general.alignment'),
        )
        const sources = Object.entries(tensors).map(([name, { type, rows, blocks }], i) => {
          const shape = [...rows, blocks * ggmlTypes[type].blockSize]
          const length = ggmlByteLength(
            type,
            shape.at(-1) ?? 0,
            rows.reduce((a, b) => a * b, 1),
          )
          const bytes = new Uint8Array(length).fill(i + 1)
          return { name, type, shape, bytes, chunks: () => [bytes.subarray(0, 5), bytes.subarray(5)] }
        })
        expect(writeGguf(file, metadata, sources)).toBe(readFileSync(file).length)
        const header = readGgufHeader(file)
        expect(header.metadata).toEqual(metadata)
        expect([...header.tensors.keys()].sort()).toEqual(Object.keys(tensors).sort())
        for (const { name, type, shape, bytes } of sources) {
          const found = header.tensors.get(name)
          expect(found).toMatchObject({ type, shape, length: bytes.length })
          const start = found?.offset ?? 0
          expect(
            readFileSync(file)
              .subarray(start, start + bytes.length)
              .equals(bytes),
          ).toBe(true)
        }
      },
    ),
    { numRuns: 60 },
  )
})

test('version 2 has the same layout', () => {
  writeGguf(file, new Map([['key', { type: 'u32', value: 7 }]]), [])
  const content = readFileSync(file)
  content.writeUInt32LE(2, 4)
  writeFileSync(file, content)
  expect(readGgufHeader(file)).toMatchObject({ version: 2 })
  expect(readGgufHeader(file).metadata.get('key')).toEqual({ type: 'u32', value: 7 })
})

test('a tensor that gives other bytes than its shape takes is refused, and nothing is left', () => {
  const short = { name: 'a', type: 'F32' as const, shape: [2], chunks: () => [new Uint8Array(4)] }
  expect(() => writeGguf(join(folder, 'short.gguf'), new Map(), [short])).toThrow(
    "tensor 'a' gave 4 bytes, not 8",
  )
})

/** Bytes one after the other: numbers of 4 bytes, bigints of 8, texts with their length before them. */
function bytes(...parts: (number | bigint | string | Buffer)[]): Buffer {
  return Buffer.concat(
    parts.map(part => {
      if (Buffer.isBuffer(part)) return part
      const buffer = Buffer.alloc(typeof part === 'number' ? 4 : 8)
      if (typeof part === 'number') buffer.writeUInt32LE(part)
      else buffer.writeBigUInt64LE(typeof part === 'bigint' ? part : BigInt(Buffer.byteLength(part)))
      return typeof part === 'string' ? Buffer.concat([buffer, Buffer.from(part)]) : buffer
    }),
  )
}

const start = (tensors: bigint, values: bigint): Buffer => bytes(Buffer.from('GGUF'), 3, tensors, values)
const u32 = 4
const u8 = 0
const text = 8
const array = 9

describe('attacks that are known of other readers', () => {
  const huge = (1n << 64n) - 1n
  test.each([
    ['no GGUF', Buffer.from('PK\u0003\u0004 and more'), 'does not begin with GGUF'],
    [
      'version 1, with counts of 4 bytes',
      bytes(Buffer.from('GGUF'), 1, 0n, 0n),
      'is GGUF version 1; versions 2 and 3',
    ],
    ['big-endian', bytes(Buffer.from('GGUF'), 0x03000000, 0n, 0n), 'perhaps written for big-endian'],
    [
      'a count of tensors beyond the file',
      start(huge, 0n),
      'the number of tensors says 18446744073709551615',
    ],
    ['a count of values beyond the file', start(0n, huge), 'the number of metadata values says'],
    [
      'a string longer than the file',
      bytes(start(0n, 1n), 'key', text, 1n << 40n, Buffer.alloc(8)),
      "metadata 'key''s length says 1099511627776",
    ],
    [
      'an array longer than the file (a few bytes that ask for gigabytes)',
      bytes(start(0n, 1n), 'key', array, text, 1n << 32n, Buffer.alloc(8)),
      "metadata 'key''s length says 4294967296",
    ],
    [
      'an array of an unknown type',
      bytes(start(0n, 1n), 'key', array, 99, 1n, Buffer.alloc(8)),
      "metadata 'key' has the unknown type 99",
    ],
    [
      'arrays within arrays, down to any depth',
      bytes(start(0n, 1n), 'key', array, array, 1n, array, 1n),
      "metadata 'key' holds arrays in an array",
    ],
    [
      'an alignment without bounds',
      bytes(start(0n, 1n), 'general.alignment', u32, 0x80000000),
      'general.alignment is 2147483648; it must be a power of two up to 65536',
    ],
    ['an alignment of zero', bytes(start(0n, 1n), 'general.alignment', u32, 0), 'general.alignment is 0'],
    [
      'an alignment that is text',
      bytes(start(0n, 1n), 'general.alignment', text, '32'),
      'general.alignment is 32; it must be a power of two',
    ],
    [
      'a key twice',
      bytes(start(0n, 2n), 'key', u32, 1, 'key', u32, 2, Buffer.alloc(16)),
      "metadata 'key' is there twice",
    ],
    [
      'more dimensions than there can be',
      bytes(start(1n, 0n), 'w', 5, Buffer.alloc(64)),
      "'w' has 5 dimensions",
    ],
    ['no dimensions', bytes(start(1n, 0n), 'w', 0, 0, 0n, Buffer.alloc(32)), "'w' has 0 dimensions"],
    [
      'sizes whose product overflows',
      bytes(start(1n, 0n), 'w', 2, 1n << 40n, 1n << 40n, 0, 0n, Buffer.alloc(32)),
      "tensor 'w' takes bytes",
    ],
    [
      'a size that is no number of JavaScript',
      bytes(start(1n, 0n), 'w', 1, huge, 0, 0n, Buffer.alloc(32)),
      "a size of tensor 'w' says 18446744073709551615",
    ],
    [
      'an unknown element type',
      bytes(start(1n, 0n), 'w', 1, 4n, 77, 0n, Buffer.alloc(32)),
      'has the unknown type 77',
    ],
    [
      'rows that are no whole blocks',
      bytes(start(1n, 0n), 'w', 1, 33n, 8, 0n, Buffer.alloc(64)),
      'Q8_0 with rows of 33, which are not whole blocks of 32',
    ],
    [
      'an offset beyond the file',
      bytes(start(1n, 0n), 'w', 1, 4n, 0, 1n << 40n, Buffer.alloc(32)),
      "tensor 'w' takes bytes",
    ],
    [
      'an offset between',
      bytes(start(1n, 0n), 'w', 1, 4n, 0, 3n, Buffer.alloc(64)),
      'begins at 3, no multiple of 32',
    ],
    [
      'tensors that overlap',
      bytes(start(2n, 0n), 'a', 1, 16n, 0, 0n, 'b', 1, 16n, 0, 32n, Buffer.alloc(160)),
      "tensor 'b' overlaps",
    ],
    [
      'a tensor twice',
      bytes(start(2n, 0n), 'a', 1, 8n, 0, 0n, 'a', 1, 8n, 0, 32n, Buffer.alloc(160)),
      "tensor 'a' is there twice",
    ],
    [
      'a file that ends within its header',
      start(1n, 1n).subarray(0, 12),
      'ends within the number of tensors',
    ],
  ])('%s', (_, content, message) => {
    writeFileSync(file, content)
    expect(() => readGgufHeader(file)).toThrow(FormatError)
    expect(() => readGgufHeader(file)).toThrow(message)
  })

  test('a header of more array elements than any vocabulary takes no memory for them', () => {
    const elements = 20_000_000
    writeFileSync(file, bytes(start(0n, 1n), 'key', array, u8, BigInt(elements), Buffer.alloc(elements)))
    const before = process.memoryUsage().rss
    expect(() => readGgufHeader(file)).toThrow('at most 8388608 fit')
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20)
  })
})
