// MXFP4: 32 numbers of 4 bits with a power of two that they share (OCP Microscaling Formats, version 1.0).

import type { BlockRule } from './codec.ts'

/** E2M1 by code, twice over, so that all are whole; the scale is halved in turn. */
export const doubled = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12] as const

/** Half of `2^(e - 127)`; exact down to the subnormals. */
const halfScale = (e: number): number => 2 ** (e - 128)

/** The order of GGUF: the low nibbles hold the first 16 numbers, the high ones the other 16. */
export const mxfp4: BlockRule = {
  decode(bytes, at, values, first) {
    const scale = halfScale(bytes[at] ?? 0)
    for (let j = 0; j < 16; j++) {
      const packed = bytes[at + 1 + j] ?? 0
      values[first + j] = (doubled[packed & 15] ?? 0) * scale
      values[first + 16 + j] = (doubled[packed >> 4] ?? 0) * scale
    }
  },
  /**
   * The scale is the power of two that brings the largest number nearest to 4..6 (OCP, section 6.3), or where importance is
   * known perhaps one beside it; then each to the nearest.
   */
  encode(values, first, bytes, at, importance) {
    const numbers = values.subarray(first, first + 32)
    const largest = numbers.reduce((a, b) => Math.max(a, Math.abs(b)), 0)
    const plain = largest === 0 ? 0 : Math.min(Math.max(Math.floor(Math.log2(largest)) - 2 + 127, 0), 254)
    const e = importance === null ? plain : nearestExponent(numbers, importance, plain)
    bytes[at] = e
    const code = (value: number | undefined): number => nearestCode((value ?? 0) / halfScale(e))
    for (let j = 0; j < 16; j++) bytes[at + 1 + j] = code(numbers[j]) | (code(numbers[j + 16]) << 4)
  },
}

/** Of the plain exponent and its neighbours, the one whose levels are nearest. */
function nearestExponent(numbers: Float32Array, importance: Float32Array, plain: number): number {
  let best = { e: plain, error: Infinity }
  for (const e of [plain, Math.max(plain - 1, 0), Math.min(plain + 1, 254)]) {
    const scale = halfScale(e)
    const error = numbers.reduce((sum, x, i) => {
      const off = Math.abs(x) - scale * (doubled[nearestCode(x / scale) & 7] ?? 0)
      return sum + (importance[i] ?? 0) * (off * off)
    }, 0)
    if (error < best.error) best = { e, error }
  }
  return best.e
}

/** The code of the value nearest to a doubled number; ties to the smaller one. */
function nearestCode(value: number): number {
  const size = Math.abs(value)
  let best = 0
  for (let code = 1; code < 8; code++)
    if (Math.abs((doubled[code] ?? 0) - size) < Math.abs((doubled[best] ?? 0) - size)) best = code
  return value < 0 && best > 0 ? best + 8 : best
}

/**
 * The order of Hugging Face's gpt-oss files: byte b of a block holds the numbers 2b (low nibble) and 2b + 1, and scales
 * lie in a tensor of their own.
 *
 * @param blocks 16 bytes per 32 numbers
 * @param scales one per 32 numbers
 */
export function decodeMxfp4Pairs(blocks: Uint8Array, scales: Uint8Array, values: Float32Array): void {
  for (let i = 0; i < blocks.length; i++) {
    const scale = halfScale(scales[i >> 4] ?? 0)
    const packed = blocks[i] ?? 0
    values[2 * i] = (doubled[packed & 15] ?? 0) * scale
    values[2 * i + 1] = (doubled[packed >> 4] ?? 0) * scale
  }
}
