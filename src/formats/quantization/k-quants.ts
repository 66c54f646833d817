// Super-blocks of 256 numbers: parts with scales that are quantized in turn (ggml-quants.c: Q2_K to Q6_K).

import type { BlockRule } from './codec.ts'
import { fitScale, fitScaleAndMin, level } from './fit.ts'
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
  /** Scale and minimum of each part by least squares, both to 6 bits of the largest, then each number to the nearest level. */
  encode(values, first, bytes, at) {
    const parts = Array.from({ length: 8 }, (_, j) => values.subarray(first + j * 32, first + j * 32 + 32))
    const fits = parts.map(part => fitScaleAndMin(part, 15))
    const d = putHalf(bytes, at, Math.max(...fits.map(fit => fit.scale)) / 63)
    const dmin = putHalf(bytes, at + 2, Math.max(...fits.map(fit => fit.min)) / 63)
    const scales = fits.map(fit => (d === 0 ? 0 : level(fit.scale / d, 0, 63)))
    const mins = fits.map(fit => (dmin === 0 ? 0 : level(fit.min / dmin, 0, 63)))
    packScales(bytes, at + 4, scales, mins)
    bytes.fill(0, at + 16, at + 144)
    for (const [j, part] of parts.entries()) {
      const [step, min] = [d * (scales[j] ?? 0), dmin * (mins[j] ?? 0)]
      for (const [i, x] of part.entries()) {
        const q = step === 0 ? 0 : level((x + min) / step, 0, 15)
        const place = at + 16 + (j >> 1) * 32 + i
        bytes[place] = (bytes[place] ?? 0) | (q << (j % 2 === 0 ? 0 : 4))
      }
    }
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
  /** The scale of each part by least squares, to 8 bits of the largest, then each number to the nearest level. */
  encode(values, first, bytes, at) {
    const parts = Array.from({ length: 16 }, (_, j) => values.subarray(first + j * 16, first + j * 16 + 16))
    const fits = parts.map(part => fitScale(part, -32, 31))
    const d = putHalf(bytes, at + 208, Math.max(...fits.map(Math.abs)) / 127)
    const scales = fits.map(fit => (d === 0 ? 0 : level(fit / d, -127, 127)))
    bytes.fill(0, at, at + 192)
    for (const [j, scale] of scales.entries()) bytes[at + 192 + j] = scale
    for (const [n, { low, lowShift, high, highShift }] of q6Places.entries()) {
      const step = d * (scales[n >> 4] ?? 0)
      const q = (step === 0 ? 0 : level((values[first + n] ?? 0) / step, -32, 31)) + 32
      bytes[at + low] = (bytes[at + low] ?? 0) | ((q & 15) << lowShift)
      bytes[at + 128 + high] = (bytes[at + 128 + high] ?? 0) | ((q >> 4) << highShift)
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

const signed = (byte = 0): number => (byte << 24) >> 24
