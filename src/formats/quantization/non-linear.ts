// 4 bits that pick from levels which lie closer around zero (ggml-quants.c: IQ4_NL, IQ4_XS).

import type { BlockRule } from './codec.ts'
import { halfAt } from './half.ts'

/** The levels (ggml-common.h, kvalues_iq4nl). */
const levels = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] as const

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
}
