// Blocks by hand for each type, and what encoding may lose. Bounds are derived from a block's own step.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { GgmlTypeName } from '../index.ts'
import type { BlockCodec } from './codec.ts'
import { codecs } from './codecs.ts'
import { halfAt, putHalf } from './half.ts'

function codecOf(type: GgmlTypeName): BlockCodec {
  const codec = codecs[type]
  if (!codec) throw new Error(`${type} has no codec`)
  return codec
}

function decode(type: GgmlTypeName, bytes: Uint8Array): number[] {
  const { blockSize, blockBytes, decode } = codecOf(type)
  const values = new Float32Array((bytes.length / blockBytes) * blockSize)
  decode(bytes, values)
  return [...values]
}

function encode(type: GgmlTypeName, values: Float32Array): Uint8Array {
  const { blockSize, blockBytes, encode } = codecOf(type)
  const bytes = new Uint8Array((values.length / blockSize) * blockBytes)
  encode?.(values, bytes)
  return bytes
}

const list = <T>(length: number, of: (i: number) => T): T[] => Array.from({ length }, (_, i) => of(i))

// --- blocks by hand -------------------------------------------------------------------------------------------

// Halves: 0.5 is 0x3800, 1 is 0x3c00, 2 is 0x4000, -1 is 0xbc00.
const half = [0x00, 0x38]
const one = [0x00, 0x3c]
const two = [0x00, 0x40]
const minusOne = [0x00, 0xbc]

/** 16 bytes: low nibbles count up, high ones down. */
const upAndDown = list(16, i => i | ((15 - i) << 4))
/** Values of 32 numbers whose codes count up in the first half and down in the second. */
const of32 = (value: (code: number, n: number) => number): number[] =>
  list(32, n => value(n < 16 ? n : 31 - n, n))

/** Scales 1, 9, 17, ... 57 and minima 60, 52, ... 4, of 6 bits: four parts whole, the others' upper bits beside those. */
const packedScales = [0x81, 0x89, 0xd1, 0xd9, 0x7c, 0x74, 0x2c, 0x24, 0xc1, 0x49, 0xc1, 0x49]
const scaleOf = (part: number): number => 1 + 8 * part
const minOf = (part: number): number => 60 - 8 * part
/** Four rows of two bits in each byte: 0, 1, 2, 3. */
const rows = 0xe4

const byHand: [GgmlTypeName, bytes: number[], values: number[]][] = [
  ['Q8_0', [...half, ...list(32, i => (i - 16) & 255)], list(32, i => (i - 16) / 2)],
  ['Q4_0', [...two, ...upAndDown], of32(code => 2 * (code - 8))],
  ['Q4_1', [...half, ...minusOne, ...upAndDown], of32(code => code / 2 - 1)],
  // Fifth bits of the second half, then of the first.
  ['Q5_0', [...one, 0, 0, 255, 255, ...upAndDown], of32((code, n) => code + (n < 16 ? 0 : 16) - 16)],
  [
    'Q5_1',
    [...half, ...one, 255, 255, 0, 0, ...upAndDown],
    of32((code, n) => (code + (n < 16 ? 16 : 0)) / 2 + 1),
  ],
  [
    'Q2_K', // part p has scale p and minimum 15 - p; two bytes differ, to tell places apart
    [
      ...list(16, p => p | ((15 - p) << 4)),
      ...list(64, i => (i === 5 ? 0x00 : i === 40 ? 0xff : rows)),
      ...one,
      ...half,
    ],
    list(256, n => {
      const [part, row] = [n >> 4, (n >> 5) & 3]
      const q = n < 128 && n % 32 === 5 ? 0 : n >= 128 && n % 32 === 8 ? 3 : row
      return part * q - (15 - part) / 2
    }),
  ],
  [
    'Q3_K', // part p has scale 20 + p, less 32; odd rows have the third bit
    [
      ...list(32, () => 0xaa),
      ...list(64, i => (i === 5 ? 0x00 : rows)),
      ...[0xc4, 0xd5, 0xe6, 0xf7, 0x08, 0x19, 0x2a, 0x3b, 0x95, 0x95, 0x95, 0x95],
      ...two,
    ],
    list(256, n => {
      const row = n >> 5
      const low = n < 128 && n % 32 === 5 ? 0 : row & 3
      return 2 * ((n >> 4) - 12) * (low + (row % 2 === 0 ? 0 : 4) - 4)
    }),
  ],
  [
    'Q4_K', // codes count up in even parts, down in odd ones
    [...one, ...half, ...packedScales, ...list(128, i => (i & 15) | ((15 - (i & 15)) << 4))],
    list(256, n => {
      const [part, up] = [n >> 5, n & 15]
      return scaleOf(part) * (part % 2 === 0 ? up : 15 - up) - minOf(part) / 2
    }),
  ],
  [
    'Q5_K', // as Q4_K, with the fifth bit in even parts
    [
      ...one,
      ...half,
      ...packedScales,
      ...list(32, () => 0x55),
      ...list(128, i => (i & 15) | ((15 - (i & 15)) << 4)),
    ],
    list(256, n => {
      const [part, up] = [n >> 5, n & 15]
      return scaleOf(part) * (part % 2 === 0 ? up + 16 : 15 - up) - minOf(part) / 2
    }),
  ],
  [
    'Q6_K', // low nibbles 5 and high nibbles 10, but for one byte; part p has scale p - 8
    [
      ...list(128, i => (i === 99 ? 0x0f : 0xa5)),
      ...list(64, () => rows),
      ...list(16, p => (p - 8) & 255),
      ...half,
    ],
    list(256, n => {
      const row = (n >> 5) & 3
      const usual = (row < 2 ? 5 : 10) + 16 * row - 32
      const q = n === 128 + 32 + 3 ? 15 + 16 - 32 : n === 128 + 96 + 3 ? 0 + 48 - 32 : usual
      return (((n >> 4) - 8) * q) / 2
    }),
  ],
]

/** The levels of IQ4 and of E2M1, as their specifications list them. */
const iq4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]
const e2m1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6]

byHand.push(
  ['IQ4_NL', [...half, ...upAndDown], of32(code => (iq4[code] ?? 0) / 2)],
  [
    'IQ4_XS', // part p has scale 30 + p, less 32
    [...one, 0xa5, 0xaa, 0xfe, 0x10, 0x32, 0x54, ...list(8, () => upAndDown).flat()],
    list(8, part => of32(code => (part - 2) * (iq4[code] ?? 0))).flat(),
  ],
  ['MXFP4', [128, ...upAndDown], of32(code => 2 * (e2m1[code] ?? 0))],
)

test('every type has a block by hand', () => {
  expect(byHand.map(([type]) => type).sort()).toEqual(Object.keys(codecs).sort())
})

test.each(byHand)('%s decodes a block by hand', (type, bytes, values) => {
  expect(bytes).toHaveLength(codecOf(type).blockBytes)
  // Adding 0 makes zeros alike: the sign of none is of interest.
  expect(decode(type, Uint8Array.from(bytes)).map(x => x + 0)).toEqual(values.map(x => x + 0))
})

test('a second block is decoded like the first', () => {
  for (const [type, bytes, values] of byHand) {
    const both = decode(type, Uint8Array.from([...bytes, ...bytes]))
    expect(both.map(x => x + 0)).toEqual([...values, ...values].map(x => x + 0))
  }
})

describe('halves', () => {
  test.each([
    [0x0001, 2 ** -24],
    [0x03ff, 1023 * 2 ** -24],
    [0x0400, 2 ** -14],
    [0x3555, 1365 / 4096],
    [0x7bff, 65_504],
    [0xfc00, -Infinity],
    [0x7e00, Number.NaN],
  ])('%i is %d', (bits, value) => expect(halfAt(Uint8Array.of(bits & 255, bits >> 8), 0)).toBe(value))

  test('every finite one is written as itself', () => {
    const [bytes, again] = [new Uint8Array(2), new Uint8Array(2)]
    for (let bits = 0; bits < 0x10000; bits++) {
      if ((bits & 0x7c00) === 0x7c00 || bits === 0x8000) continue // a negative zero is written as zero
      bytes.set([bits & 255, bits >> 8])
      putHalf(again, 0, halfAt(bytes, 0))
      if (again[0] !== bytes[0] || again[1] !== bytes[1]) expect([...again]).toEqual([...bytes])
    }
  })

  test('what lies halfway goes to the even one', () => {
    const written = (value: number): number => putHalf(new Uint8Array(2), 0, value)
    expect(written(1 + 2 ** -11)).toBe(1)
    expect(written(1 + 3 * 2 ** -11)).toBe(1 + 2 ** -9)
    expect(written(2 ** -25)).toBe(0)
    expect(written(1e9)).toBe(65_504)
  })
})

// --- encoding ---------------------------------------------------------------------------------------------------

const encodable = (Object.keys(codecs) as GgmlTypeName[]).filter(type => codecs[type]?.encode)

test.each(encodable)('%s keeps zeros', type => {
  const zeros = new Float32Array(codecOf(type).blockSize * 2)
  expect(decode(type, encode(type, zeros)).map(x => x + 0)).toEqual([...zeros])
})

/** A power of two among those whose multiples stay exact in halves and f32. */
const power = fc.integer({ min: -8, max: 4 }).map(e => 2 ** e)
const whole = (low: number, high: number, count: number): fc.Arbitrary<number[]> =>
  fc.array(fc.integer({ min: low, max: high }), { minLength: count, maxLength: count })

/** Values that a block can hold, with codes at the ends of each scale's range, so that the scale is known from them. */
const exact: Partial<Record<GgmlTypeName, fc.Arbitrary<number[]>>> = {
  Q8_0: fc.tuple(power, whole(-127, 127, 31)).map(([d, q]) => [127, ...q].map(q => d * q)),
  Q4_0: fc
    .tuple(power, fc.boolean(), whole(-8, 7, 31))
    .map(([d, negative, q]) => [-8, ...q].map(q => (negative ? -d : d) * q)),
  MXFP4: fc
    .tuple(power, fc.constantFrom(4, 6), whole(0, 15, 31))
    .map(([d, largest, codes]) => [d * largest, ...codes.map(code => d * (e2m1[code] ?? 0))]),
  Q4_K: fc
    .tuple(power, power, whole(0, 63, 7), whole(0, 63, 7), whole(0, 15, 240))
    .map(([d, dmin, scales, mins, codes]) =>
      list(256, n => {
        const [part, i] = [n >> 5, n & 31]
        const q = i === 0 ? 0 : i === 1 ? 15 : (codes[part * 30 + i - 2] ?? 0)
        return d * ([63, ...scales][part] ?? 0) * q - dmin * ([63, ...mins][part] ?? 0)
      }),
    ),
  Q5_K: fc
    .tuple(power, power, whole(0, 63, 7), whole(0, 63, 7), whole(0, 31, 240))
    .map(([d, dmin, scales, mins, codes]) =>
      list(256, n => {
        const [part, i] = [n >> 5, n & 31]
        const q = i === 0 ? 0 : i === 1 ? 31 : (codes[part * 30 + i - 2] ?? 0)
        return d * ([63, ...scales][part] ?? 0) * q - dmin * ([63, ...mins][part] ?? 0)
      }),
    ),
  Q2_K: fc
    .tuple(power, power, whole(0, 15, 15), whole(0, 15, 15), whole(0, 3, 192))
    .map(([d, dmin, scales, mins, codes]) =>
      list(256, n => {
        const [part, i] = [n >> 4, n & 15]
        const q = i < 4 ? i : (codes[part * 12 + i - 4] ?? 0) // with fewer levels other scales would do
        return d * ([15, ...scales][part] ?? 0) * q - dmin * ([15, ...mins][part] ?? 0)
      }),
    ),
  Q3_K: fc.tuple(power, whole(-31, 31, 15), whole(-4, 3, 240)).map(([d, scales, codes]) =>
    list(256, n => {
      const [part, i] = [n >> 4, n & 15]
      return d * ([31, ...scales][part] ?? 0) * (i === 0 ? -4 : (codes[part * 15 + i - 1] ?? 0))
    }),
  ),
  IQ4_NL: fc
    .tuple(power, whole(0, 15, 31))
    .map(([d, codes]) => [0, ...codes].map(code => d * (iq4[code] ?? 0))),
  IQ4_XS: fc.tuple(power, whole(-31, 31, 7), whole(0, 15, 248)).map(([d, scales, codes]) =>
    list(256, n => {
      const [part, i] = [n >> 5, n & 31]
      return d * ([31, ...scales][part] ?? 0) * (iq4[i === 0 ? 0 : (codes[part * 31 + i - 1] ?? 0)] ?? 0)
    }),
  ),
  Q6_K: fc.tuple(power, whole(-127, 127, 15), whole(-32, 31, 240)).map(([d, scales, codes]) =>
    list(256, n => {
      const [part, i] = [n >> 4, n & 15]
      return d * ([127, ...scales][part] ?? 0) * (i === 0 ? -32 : (codes[part * 15 + i - 1] ?? 0))
    }),
  ),
}

test.each(encodable)('property: %s gives back what a block can hold, exactly', type => {
  fc.assert(
    fc.property(exact[type] ?? fc.constant([]), values => {
      const decoded = decode(type, encode(type, Float32Array.from(values)))
      expect(decoded.map(x => x + 0)).toEqual(values.map(x => x + 0))
    }),
    { numRuns: 60 },
  )
})

/** Numbers of ordinary size, of both signs or of one, some of them 0: scales are normal halves or 0. */
const ordinary = (count: number): fc.Arbitrary<Float32Array> => {
  const size = fc.oneof(
    { weight: 6, arbitrary: fc.float({ min: Math.fround(0.1), max: 50, noNaN: true }) },
    fc.constant(0),
  )
  const signs = fc.constantFrom<((i: number) => number)[]>(
    i => (i % 3 === 0 ? -1 : 1),
    () => 1,
    () => -1,
  )
  return fc
    .tuple(fc.array(size, { minLength: count, maxLength: count }), signs)
    .map(([sizes, sign]) => Float32Array.from(sizes, (x, i) => x * sign(i)))
}

/** f32's own rounding, and a half's of the step (2^-11) at the ends of the range. */
const slack = 1 + 2 ** -9

test('property: Q8_0 is off by half a step of its block at most', () => {
  fc.assert(
    fc.property(ordinary(32), values => {
      const bytes = encode('Q8_0', values)
      const step = halfAt(bytes, 0)
      for (const [i, y] of decode('Q8_0', bytes).entries())
        expect(Math.abs(y - (values[i] ?? 0))).toBeLessThanOrEqual((step / 2) * slack)
    }),
  )
})

test('property: Q4_0 is off by half a step, by a whole one only where 8 steps are clipped to 7', () => {
  fc.assert(
    fc.property(ordinary(32), values => {
      const bytes = encode('Q4_0', values)
      const step = halfAt(bytes, 0)
      for (const [i, y] of decode('Q4_0', bytes).entries()) {
        const x = values[i] ?? 0
        const isClipped = step !== 0 && x / step > 7.5
        // Beyond 7.5 the error is that of x / d - 7, x / d being 8 but for the rounding of d.
        const most = isClipped ? 1 + 8 * 2 ** -11 : 0.5
        expect(Math.abs(y - x)).toBeLessThanOrEqual(Math.abs(step) * most * slack)
      }
    }),
  )
})

test('property: MXFP4 is off by a quarter of a number, or of the scale for small ones', () => {
  fc.assert(
    fc.property(ordinary(32), values => {
      const bytes = encode('MXFP4', values)
      const scale = 2 ** ((bytes[0] ?? 0) - 127)
      // Levels are 1/2 apart below 2, then 1 and 2; the largest number is below 8, and 6 the last level.
      for (const [i, y] of decode('MXFP4', bytes).entries()) {
        const x = Math.abs(values[i] ?? 0)
        expect(Math.abs(Math.abs(y) - x)).toBeLessThanOrEqual(Math.max(scale, x) / 4)
      }
    }),
  )
})

const norm = (values: readonly number[]): number => Math.hypot(...values)

/**
 * Parts of K-quants are fitted by least squares, so that bounds hold for a part's whole error. The fit is not worse than
 * the plain choice with its extreme at the end of the range, a step of which is `plain(part)`; then the scale (and the
 * minimum) is off by half of its own unit at most, times the largest code.
 */
function expectFitted(
  type: GgmlTypeName,
  values: Float32Array,
  partSize: number,
  mostPerValue: (part: readonly number[], bytes: Uint8Array) => number,
): void {
  const bytes = encode(type, values)
  const decoded = decode(type, bytes)
  for (let first = 0; first < 256; first += partSize) {
    const part = [...values.subarray(first, first + partSize)]
    const error = norm(part.map((x, i) => x - (decoded[first + i] ?? 0)))
    expect(error).toBeLessThanOrEqual(Math.sqrt(partSize) * mostPerValue(part, bytes) * slack)
  }
}

test('property: Q4_K is off by half a plain step, and half a unit of scale and minimum', () => {
  fc.assert(
    fc.property(ordinary(256), values => {
      expectFitted('Q4_K', values, 32, (part, bytes) => {
        const range = Math.max(...part, 0, Math.min(...part)) - Math.min(...part, 0)
        return range / 15 / 2 + (halfAt(bytes, 0) / 2) * 15 + halfAt(bytes, 2) / 2 + 63 * 2 ** -24
      })
    }),
    { numRuns: 60 },
  )
})

test('property: Q6_K is off by a plain step, where 32 steps are clipped to 31, and half a unit of scale', () => {
  fc.assert(
    fc.property(ordinary(256), values => {
      expectFitted('Q6_K', values, 16, (part, bytes) => {
        const step = Math.max(...part.map(Math.abs)) / 32
        return step + (Math.abs(halfAt(bytes, 208)) / 2) * 32
      })
    }),
    { numRuns: 60 },
  )
})

/** Normal numbers by Box and Muller's transform of Weyl's sequences. */
const normal = (count: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => {
    const [u, v] = [((i + 0.5) * 0.6180339887) % 1, ((i + 0.5) * 0.7548776662) % 1]
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v)
  })

test('IQ4 loses less than Q4_0 of normal numbers, at as many bits or fewer', () => {
  const values = normal(1 << 14)
  const errorOf = (type: GgmlTypeName): number => {
    const decoded = decode(type, encode(type, values))
    return norm(decoded.map((y, i) => y - (values[i] ?? 0))) / norm([...values])
  }
  const plain = errorOf('Q4_0')
  expect(errorOf('IQ4_NL')).toBeLessThan(plain)
  expect(errorOf('IQ4_XS')).toBeLessThan(plain)
})

test('property: IQ4_NL is off by no more than clipping at the near end costs', () => {
  fc.assert(
    fc.property(ordinary(32), values => {
      // Of the steps that are tried one takes the largest number to -128.5. One of its size and other sign is then 15.5 steps
      // beyond the last level, and no other is farther from one; the fit is not worse, but for the rounding of d.
      const largest = Math.max(...values.map(Math.abs))
      const error = norm(decode('IQ4_NL', encode('IQ4_NL', values)).map((y, i) => y - (values[i] ?? 0)))
      expect(error).toBeLessThanOrEqual(Math.sqrt(32) * largest * (15.5 / 128.5 + 2 ** -11) * slack)
    }),
  )
})

// --- importance -------------------------------------------------------------------------------------------------

/** `sum w (x - y)^2` */
function weightedError(
  type: GgmlTypeName,
  values: Float32Array,
  bytes: Uint8Array,
  weights: Float32Array,
): number {
  return decode(type, bytes).reduce((sum, y, i) => sum + (weights[i] ?? 0) * (y - (values[i] ?? 0)) ** 2, 0)
}

/** Numbers spread evenly over -1 .. 1, by Weyl's sequence: as dense as weights are. */
const spread = (count: number, start: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => 2 * ((start + i * 0.6180339887) % 1) - 1)

test.each(encodable)('property: %s is nearer where numbers count more, summed over blocks', type => {
  const { blockSize, blockBytes, encode: encodeBlocks } = codecOf(type)
  const blocks = 16
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 999 }), fc.integer({ min: 1, max: 31 }), (start, stride) => {
      const values = spread(blockSize * blocks, start / 1000)
      const weights = Float32Array.from(
        { length: blockSize },
        (_, i) => 4 ** (((i * (3 * stride + 1)) % 9) - 4),
      )
      const weighted = new Uint8Array(blockBytes * blocks)
      encodeBlocks?.(values, weighted, weights)
      const every = Float32Array.from(values, (_, i) => weights[i % blockSize] ?? 0)
      const plain = weightedError(type, values, encode(type, values), every)
      // Scales are rounded after they were fitted, which may cost a little.
      expect(weightedError(type, values, weighted, every)).toBeLessThan(plain * 1.01)
    }),
    { numRuns: 20, endOnFailure: true },
  )
})

test.each(encodable)('%s takes columns that count alike as none', type => {
  if (type === 'Q8_0' || type === 'Q4_0' || type === 'MXFP4') return // plain ones are not fitted
  const { blockSize, blockBytes, encode: encodeBlocks } = codecOf(type)
  const values = Float32Array.from({ length: blockSize }, (_, i) => Math.sin(i * i))
  const bytes = new Uint8Array(blockBytes)
  encodeBlocks?.(values, bytes, new Float32Array(blockSize).fill(1))
  expect([...bytes]).toEqual([...encode(type, values)])
})
