// 4 bits that pick from levels which lie closer around zero (ggml-quants.c: IQ4_NL, IQ4_XS).

import type { BlockRule } from './codec.ts'
import { fitScaleTo, type Importance, level } from './fit.ts'
import { halfAt, putHalf } from './half.ts'

/** The levels by code (ggml-common.h, kvalues_iq4nl). */
export const levels = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] as const

const midpoints = levels.slice(1).map((value, i) => (value + (levels[i] ?? 0)) / 2)

/** The code of the nearest level; of two the lower. */
function nearestCode(value: number): number {
  let code = 0
  while (value > (midpoints[code] ?? Infinity)) code++
  return code
}

/**
 * Levels reach farther below zero than above, so the number of largest size may be near either end, whichever its sign; a
 * little beyond the end its clipping pays for finer steps, and a little within it the others may fit better.
 */
const ends = [-127, 113].flatMap(end => Array.from({ length: 12 }, (_, i) => end + 3 * i - 16.5))

/** The step d of `x = d level[q]` for 32 numbers, by least squares. */
const fitStep = (values: Float32Array, importance: Importance): number =>
  fitScaleTo(values, x => levels[nearestCode(x)] ?? 0, { plain: -127, ends }, importance)

/** Puts the nearest levels of 32 numbers into 16 bytes. */
function encodePart(values: Float32Array, step: number, bytes: Uint8Array, at: number): void {
  const code = (value = 0): number => nearestCode(step === 0 ? 0 : value / step)
  for (let i = 0; i < 16; i++) bytes[at + i] = code(values[i]) | (code(values[16 + i]) << 4)
}

/** 32 numbers of 16 bytes: low nibbles are the first half. */
function decodePart(bytes: Uint8Array, at: number, scale: number, values: Float32Array, first: number): void {
  for (let i = 0; i < 16; i++) {
    const packed = bytes[at + i] ?? 0
    values[first + i] = scale * (levels[packed & 15] ?? 0)
    values[first + 16 + i] = scale * (levels[packed >> 4] ?? 0)
  }
}

/** `x = d level[q]`. */
export const iq4_nl: BlockRule = {
  decode(bytes, at, values, first) {
    decodePart(bytes, at + 2, halfAt(bytes, at), values, first)
  },
  encode(values, first, bytes, at, importance) {
    const numbers = values.subarray(first, first + 32)
    const d = putHalf(bytes, at, fitStep(numbers, importance))
    encodePart(numbers, d, bytes, at + 2)
  },
}

/** `x = d (sc - 32) level[q]`, 8 parts of 32 with 6 bits of scale. */
export const iq4_xs: BlockRule = {
  decode(bytes, at, values, first) {
    const d = halfAt(bytes, at)
    const upper = (bytes[at + 2] ?? 0) | ((bytes[at + 3] ?? 0) << 8)
    for (let part = 0; part < 8; part++) {
      const low = ((bytes[at + 4 + (part >> 1)] ?? 0) >> (part % 2 === 0 ? 0 : 4)) & 15
      const scale = low | (((upper >> (2 * part)) & 3) << 4)
      decodePart(bytes, at + 8 + part * 16, d * (scale - 32), values, first + part * 32)
    }
  },
  /** Steps of parts are rounded to multiples of d, and then levels are chosen for what they have become. */
  encode(values, first, bytes, at, importance) {
    const parts = Array.from({ length: 8 }, (_, part) => ({
      numbers: values.subarray(first + part * 32, first + part * 32 + 32),
      weights: importance?.subarray(part * 32, part * 32 + 32) ?? null,
    }))
    const steps = parts.map(({ numbers, weights }) => fitStep(numbers, weights))
    const d = putHalf(bytes, at, Math.max(...steps.map(Math.abs)) / 31)
    bytes.fill(0, at + 2, at + 8)
    for (const [part, { numbers }] of parts.entries()) {
      const scale = d === 0 ? 0 : level((steps[part] ?? 0) / d, -31, 31)
      putScale(bytes, at + 2, part, scale + 32)
      encodePart(numbers, d * scale, bytes, at + 8 + part * 16)
    }
  },
}

/** The 6-bit scale of part j of 8, into 6 bytes that are 0: upper pairs first, then low nibbles. */
function putScale(bytes: Uint8Array, at: number, j: number, scale: number): void {
  const [pair, low] = [at + (j >> 2), at + 2 + (j >> 1)]
  bytes[pair] = (bytes[pair] ?? 0) | ((scale >> 4) << (2 * (j & 3)))
  bytes[low] = (bytes[low] ?? 0) | ((scale & 15) << (4 * (j & 1)))
}
