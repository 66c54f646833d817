// Super-blocks of 256 numbers: parts with scales that are quantized in turn (ggml-quants.c: Q2_K to Q6_K).

import type { BlockRule } from './codec.ts'
import { fitScale, fitScaleAndMin, type Importance, level } from './fit.ts'
import { halfAt, putHalf } from './half.ts'

const size = 256

/** The 6-bit scale and minimum of part j of 8, packed in 12 bytes. */
function scaleAndMin(bytes: Uint8Array, at: number, j: number): [scale: number, min: number] {
  const byte = (i: number): number => bytes[at + i] ?? 0
  if (j < 4) return [byte(j) & 63, byte(j + 4) & 63]
  return [(byte(j + 4) & 15) | ((byte(j - 4) >> 6) << 4), (byte(j + 4) >> 4) | ((byte(j) >> 6) << 4)]
}

/** What scaleAndMin() reads. */
function packScales(bytes: Uint8Array, at: number, scales: readonly number[], mins: readonly number[]): void {
  const of = (list: readonly number[], j: number): number => list[j] ?? 0
  for (let j = 0; j < 4; j++) {
    bytes[at + j] = of(scales, j) | ((of(scales, j + 4) >> 4) << 6)
    bytes[at + 4 + j] = of(mins, j) | ((of(mins, j + 4) >> 4) << 6)
    bytes[at + 8 + j] = (of(scales, j + 4) & 15) | ((of(mins, j + 4) & 15) << 4)
  }
}

interface AffineForm {
  parts: number
  /** The highest level. */
  most: number
  /** The most units of d, and of dmin. */
  units: number
}

/**
 * Scale and minimum of each part by least squares, both to whole units of the largest, then each number to the nearest
 * level. The units d and dmin go to two halves at `at`.
 */
function fitParts(
  values: Float32Array,
  importance: Importance,
  { parts, most, units }: AffineForm,
  bytes: Uint8Array,
  at: number,
): { scales: number[]; mins: number[]; levels: Uint8Array } {
  const fits = partsOf(values, parts).map((part, j) =>
    fitScaleAndMin(part, most, importance && (partsOf(importance, parts)[j] ?? null)),
  )
  const d = putHalf(bytes, at, Math.max(...fits.map(fit => fit.scale)) / units)
  const dmin = putHalf(bytes, at + 2, Math.max(...fits.map(fit => fit.min)) / units)
  const scales = fits.map(fit => (d === 0 ? 0 : level(fit.scale / d, 0, units)))
  const mins = fits.map(fit => (dmin === 0 ? 0 : level(fit.min / dmin, 0, units)))
  const levels = Uint8Array.from(values, (x, n) => {
    const part = Math.floor((n * parts) / size)
    const [step, min] = [d * (scales[part] ?? 0), dmin * (mins[part] ?? 0)]
    return step === 0 ? 0 : level((x + min) / step, 0, most)
  })
  return { scales, mins, levels }
}

interface SignedForm {
  low: number
  high: number
  /** The most units of d, to both sides. */
  units: number
}

/**
 * The scale of each of 16 parts by least squares, to whole units of the largest, then each number to the nearest level,
 * counted from the lowest. The unit d goes to a half at `at`.
 */
function fitSignedParts(
  values: Float32Array,
  importance: Importance,
  { low, high, units }: SignedForm,
  bytes: Uint8Array,
  at: number,
): { scales: number[]; levels: Uint8Array } {
  const fits = partsOf(values, 16).map((part, j) =>
    fitScale(part, low, high, importance && (partsOf(importance, 16)[j] ?? null)),
  )
  const d = putHalf(bytes, at, Math.max(...fits.map(Math.abs)) / units)
  const scales = fits.map(fit => (d === 0 ? 0 : level(fit / d, -units, units)))
  const levels = Uint8Array.from(values, (x, n) => {
    const step = d * (scales[n >> 4] ?? 0)
    return (step === 0 ? 0 : level(x / step, low, high)) - low
  })
  return { scales, levels }
}

const partsOf = (numbers: Float32Array, parts: number): Float32Array[] =>
  Array.from({ length: parts }, (_, j) => numbers.subarray((j * size) / parts, ((j + 1) * size) / parts))

/** `x = d sc q - dmin m`, q of 4 bits, 8 parts of 32. */
export const q4_k: BlockRule = {
  decode(bytes, at, values, first) {
    const [d, dmin] = [halfAt(bytes, at), halfAt(bytes, at + 2)]
    for (let part = 0; part < 8; part++) {
      const [scale, min] = scaleAndMin(bytes, at + 4, part)
      const shift = part % 2 === 0 ? 0 : 4
      for (let i = 0; i < 32; i++) {
        const q = ((bytes[at + 16 + (part >> 1) * 32 + i] ?? 0) >> shift) & 15
        values[first + part * 32 + i] = d * scale * q - dmin * min
      }
    }
  },
  encode(values, first, bytes, at, importance) {
    const form = { parts: 8, most: 15, units: 63 }
    const { scales, mins, levels } = fitParts(
      values.subarray(first, first + size),
      importance,
      form,
      bytes,
      at,
    )
    packScales(bytes, at + 4, scales, mins)
    bytes.fill(0, at + 16, at + 144)
    for (const [n, q] of levels.entries())
      addBits(bytes, at + 16 + (n >> 6) * 32 + (n & 31), q << (((n >> 5) & 1) * 4))
  },
}

/** As Q4_K, with a fifth bit of each number apart. */
export const q5_k: BlockRule = {
  decode(bytes, at, values, first) {
    const [d, dmin] = [halfAt(bytes, at), halfAt(bytes, at + 2)]
    for (let part = 0; part < 8; part++) {
      const [scale, min] = scaleAndMin(bytes, at + 4, part)
      for (let i = 0; i < 32; i++) {
        const low = ((bytes[at + 48 + (part >> 1) * 32 + i] ?? 0) >> (part % 2 === 0 ? 0 : 4)) & 15
        const high = ((bytes[at + 16 + i] ?? 0) >> part) & 1
        values[first + part * 32 + i] = d * scale * (low | (high << 4)) - dmin * min
      }
    }
  },
  encode(values, first, bytes, at, importance) {
    const form = { parts: 8, most: 31, units: 63 }
    const { scales, mins, levels } = fitParts(
      values.subarray(first, first + size),
      importance,
      form,
      bytes,
      at,
    )
    packScales(bytes, at + 4, scales, mins)
    bytes.fill(0, at + 16, at + 176)
    for (const [n, q] of levels.entries()) {
      addBits(bytes, at + 48 + (n >> 6) * 32 + (n & 31), (q & 15) << (((n >> 5) & 1) * 4))
      addBits(bytes, at + 16 + (n & 31), (q >> 4) << (n >> 5))
    }
  },
}

/** Where number `n` of a super-block of Q6_K lies: its byte and shift among the low bits, and among the high ones. */
function q6Place(n: number): { low: number; lowShift: number; high: number; highShift: number } {
  const [section, row, l] = [n >> 7, (n >> 5) & 3, n & 31]
  return {
    low: section * 64 + (row & 1) * 32 + l,
    lowShift: row < 2 ? 0 : 4,
    high: section * 32 + l,
    highShift: row * 2,
  }
}

const q6Places = Array.from({ length: size }, (_, n) => q6Place(n))

/** `x = d sc (q - 32)`, q of 6 bits, 16 parts of 16 with a signed scale each. */
export const q6_k: BlockRule = {
  decode(bytes, at, values, first) {
    const d = halfAt(bytes, at + 208)
    for (const [n, { low, lowShift, high, highShift }] of q6Places.entries()) {
      const q =
        (((bytes[at + low] ?? 0) >> lowShift) & 15) |
        ((((bytes[at + 128 + high] ?? 0) >> highShift) & 3) << 4)
      values[first + n] = d * signed(bytes[at + 192 + (n >> 4)]) * (q - 32)
    }
  },
  encode(values, first, bytes, at, importance) {
    const form = { low: -32, high: 31, units: 127 }
    const numbers = values.subarray(first, first + size)
    const { scales, levels } = fitSignedParts(numbers, importance, form, bytes, at + 208)
    bytes.fill(0, at, at + 192)
    for (const [j, scale] of scales.entries()) bytes[at + 192 + j] = scale
    for (const [n, { low, lowShift, high, highShift }] of q6Places.entries()) {
      const q = levels[n] ?? 0
      addBits(bytes, at + low, (q & 15) << lowShift)
      addBits(bytes, at + 128 + high, (q >> 4) << highShift)
    }
  },
}

/** `x = d sc q - dmin m`, q of 2 bits, 16 parts of 16 with 4 bits each of scale and minimum. */
export const q2_k: BlockRule = {
  decode(bytes, at, values, first) {
    const [d, dmin] = [halfAt(bytes, at + 80), halfAt(bytes, at + 82)]
    for (let n = 0; n < size; n++) {
      const { byte, shift } = twoBits(n)
      const scales = bytes[at + (n >> 4)] ?? 0
      const q = ((bytes[at + 16 + byte] ?? 0) >> shift) & 3
      values[first + n] = d * (scales & 15) * q - dmin * (scales >> 4)
    }
  },
  encode(values, first, bytes, at, importance) {
    const form = { parts: 16, most: 3, units: 15 }
    const numbers = values.subarray(first, first + size)
    const { scales, mins, levels } = fitParts(numbers, importance, form, bytes, at + 80)
    for (const [j, scale] of scales.entries()) bytes[at + j] = scale | ((mins[j] ?? 0) << 4)
    bytes.fill(0, at + 16, at + 80)
    for (const [n, q] of levels.entries()) {
      const { byte, shift } = twoBits(n)
      addBits(bytes, at + 16 + byte, q << shift)
    }
  },
}

/** `x = d (sc - 32) (q - 4)`, two bits of q and a third in a mask, 16 parts of 16. */
export const q3_k: BlockRule = {
  decode(bytes, at, values, first) {
    const d = halfAt(bytes, at + 108)
    for (let n = 0; n < size; n++) {
      const { byte, shift } = twoBits(n)
      const high = ((bytes[at + (n & 31)] ?? 0) >> (n >> 5)) & 1
      const q = (((bytes[at + 32 + byte] ?? 0) >> shift) & 3) | (high << 2)
      values[first + n] = d * (q3Scale(bytes, at + 96, n >> 4) - 32) * (q - 4)
    }
  },
  encode(values, first, bytes, at, importance) {
    const form = { low: -4, high: 3, units: 31 }
    const numbers = values.subarray(first, first + size)
    const { scales, levels } = fitSignedParts(numbers, importance, form, bytes, at + 108)
    bytes.fill(0, at, at + 108)
    for (const [j, scale] of scales.entries()) putQ3Scale(bytes, at + 96, j, scale + 32)
    for (const [n, q] of levels.entries()) {
      const { byte, shift } = twoBits(n)
      addBits(bytes, at + (n & 31), (q >> 2) << (n >> 5))
      addBits(bytes, at + 32 + byte, (q & 3) << shift)
    }
  },
}

/** Where the two bits of number n lie: four rows of 32 share the bytes of each half. */
const twoBits = (n: number): { byte: number; shift: number } => ({
  byte: (n >> 7) * 32 + (n & 31),
  shift: ((n >> 5) & 3) * 2,
})

/** The 6-bit scale of part j of 16, packed in 12 bytes: 8 bytes of low nibbles, 4 of upper pairs. */
function q3Scale(bytes: Uint8Array, at: number, j: number): number {
  const low = ((bytes[at + (j & 7)] ?? 0) >> (j < 8 ? 0 : 4)) & 15
  return low | ((((bytes[at + 8 + (j & 3)] ?? 0) >> ((j >> 2) * 2)) & 3) << 4)
}

/** What q3Scale() reads, into bytes that are 0. */
function putQ3Scale(bytes: Uint8Array, at: number, j: number, scale: number): void {
  addBits(bytes, at + (j & 7), (scale & 15) << (j < 8 ? 0 : 4))
  addBits(bytes, at + 8 + (j & 3), (scale >> 4) << ((j >> 2) * 2))
}

function addBits(bytes: Uint8Array, at: number, bits: number): void {
  bytes[at] = (bytes[at] ?? 0) | bits
}

const signed = (byte = 0): number => (byte << 24) >> 24
