// Blocks of 32 numbers with one scale, and perhaps a minimum (ggml-quants.c: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0).

import type { BlockRule } from './codec.ts'
import { fitScale, level } from './fit.ts'
import { halfAt, putHalf } from './half.ts'

const size = 32
const half = size / 2

/** `x = d q`, q of 8 bits. */
export const q8_0: BlockRule = {
  decode(bytes, at, values, first) {
    const d = halfAt(bytes, at)
    for (let i = 0; i < size; i++) values[first + i] = d * signed(bytes[at + 2 + i])
  },
  /** `d = max |x| / 127`, or by least squares where importance is known; numbers to the nearest step. */
  encode(values, first, bytes, at, importance) {
    const block = values.subarray(first, first + size)
    const step = importance === null ? largest(block) / 127 : fitScale(block, -127, 127, importance)
    const d = putHalf(bytes, at, step)
    for (const [i, value] of block.entries()) bytes[at + 2 + i] = d === 0 ? 0 : level(value / d, -127, 127)
  },
}

/** `x = d (q - 8)`, q of 4 bits: low nibbles are the first half. */
export const q4_0: BlockRule = {
  decode(bytes, at, values, first) {
    const d = halfAt(bytes, at)
    for (let i = 0; i < half; i++) {
      const packed = bytes[at + 2 + i] ?? 0
      values[first + i] = d * ((packed & 15) - 8)
      values[first + half + i] = d * ((packed >> 4) - 8)
    }
  },
  /**
   * `d` takes the number of largest size, with its sign, to -8, the end of the range that reaches farther; or it is fitted by
   * least squares where importance is known.
   */
  encode(values, first, bytes, at, importance) {
    const block = values.subarray(first, first + size)
    const extreme = block.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0)
    const d = putHalf(bytes, at, importance === null ? extreme / -8 : fitScale(block, -8, 7, importance))
    const code = (value = 0): number => (d === 0 ? 8 : level(value / d, -8, 7) + 8)
    for (let i = 0; i < half; i++) bytes[at + 2 + i] = code(block[i]) | (code(block[half + i]) << 4)
  },
}

/** `x = d q + m`, q of 4 bits. */
export const q4_1: BlockRule = {
  decode(bytes, at, values, first) {
    const [d, m] = [halfAt(bytes, at), halfAt(bytes, at + 2)]
    for (let i = 0; i < half; i++) {
      const packed = bytes[at + 4 + i] ?? 0
      values[first + i] = d * (packed & 15) + m
      values[first + half + i] = d * (packed >> 4) + m
    }
  },
}

/** The fifth bits of a block: bit i belongs to number i. */
function fifth(bytes: Uint8Array, at: number, i: number): number {
  return (((bytes[at + (i >> 3)] ?? 0) >> (i & 7)) & 1) << 4
}

/** `x = d (q - 16)`, q of 5 bits. */
export const q5_0: BlockRule = {
  decode(bytes, at, values, first) {
    const d = halfAt(bytes, at)
    for (let i = 0; i < half; i++) {
      const packed = bytes[at + 6 + i] ?? 0
      values[first + i] = d * (((packed & 15) | fifth(bytes, at + 2, i)) - 16)
      values[first + half + i] = d * (((packed >> 4) | fifth(bytes, at + 2, half + i)) - 16)
    }
  },
}

/** `x = d q + m`, q of 5 bits. */
export const q5_1: BlockRule = {
  decode(bytes, at, values, first) {
    const [d, m] = [halfAt(bytes, at), halfAt(bytes, at + 2)]
    for (let i = 0; i < half; i++) {
      const packed = bytes[at + 8 + i] ?? 0
      values[first + i] = d * ((packed & 15) | fifth(bytes, at + 4, i)) + m
      values[first + half + i] = d * ((packed >> 4) | fifth(bytes, at + 4, half + i)) + m
    }
  },
}

const signed = (byte = 0): number => (byte << 24) >> 24
const largest = (values: Float32Array): number => values.reduce((a, b) => Math.max(a, Math.abs(b)), 0)
