// Which bits of a block are the levels of its numbers, for types whose numbers are `low + step value(level)` with scales that
// stand elsewhere in the block: levels can be chosen for scales that are there.

import { doubled as mxfp4Values } from './mxfp4.ts'
import { levels as iq4Values } from './non-linear.ts'
import type { GgmlTypeName } from './types.ts'

/** Bits `from .. from + bits - 1` of a level, and where the block has them. */
interface LevelBits {
  byte: number
  shift: number
  from: number
  bits: number
}

export interface LevelLayout {
  blockSize: number
  blockBytes: number
  /** What levels stand for, ascending. */
  values: readonly number[]
  /** The bits that a block has for each level. */
  codes: readonly number[]
  /** Of each number of a block. */
  places: readonly (readonly LevelBits[])[]
}

/** Values that are whole numbers up to the highest, and are stored as they are. */
const upTo = (most: number): Pick<LevelLayout, 'values' | 'codes'> => {
  const values = Array.from({ length: most + 1 }, (_, level) => level)
  return { values, codes: values }
}

/** Whole numbers of 8 bits that are as far from 0 on either side. */
const signedBytes = Array.from({ length: 255 }, (_, level) => level - 127)

/** The codes of MXFP4 by ascending values; of its two zeros the first. */
const mxfp4Codes = [15, 14, 13, 12, 11, 10, 9, 0, 1, 2, 3, 4, 5, 6, 7]

const places = (count: number, of: (n: number) => LevelBits[]): LevelBits[][] =>
  Array.from({ length: count }, (_, n) => of(n))

/** Nibbles of rows of 32, two rows to the same bytes. */
const nibble = (n: number, at: number): LevelBits => ({
  byte: at + (n >> 6) * 32 + (n & 31),
  shift: ((n >> 5) & 1) * 4,
  from: 0,
  bits: 4,
})

/** Pairs of bits of rows of 32, four rows to the same bytes. */
const pair = (n: number, at: number, from: number): LevelBits => ({
  byte: at + (n >> 7) * 32 + (n & 31),
  shift: ((n >> 5) & 3) * 2,
  from,
  bits: 2,
})

/** One bit of each of eight rows of 32. */
const bit = (n: number, at: number, from: number): LevelBits => ({
  byte: at + (n & 31),
  shift: n >> 5,
  from,
  bits: 1,
})

/** 32 nibbles in 16 bytes: the low ones first. */
const halves = (n: number, at: number): LevelBits => ({
  byte: at + (n & 15),
  shift: ((n >> 4) & 1) * 4,
  from: 0,
  bits: 4,
})

/** IQ4's levels, which ascend as their codes do. */
const iq4 = { values: iq4Values, codes: upTo(15).codes }

/** Types that have levels so; the layouts are those of simple.ts, mxfp4.ts, non-linear.ts and k-quants.ts. */
export const levelLayouts: Partial<Record<GgmlTypeName, LevelLayout>> = {
  Q4_0: {
    blockSize: 32,
    blockBytes: 18,
    ...upTo(15),
    places: places(32, n => [halves(n, 2)]),
  },
  Q8_0: {
    blockSize: 32,
    blockBytes: 34,
    values: signedBytes,
    codes: signedBytes.map(value => value & 255),
    places: places(32, n => [{ byte: 2 + n, shift: 0, from: 0, bits: 8 }]),
  },
  MXFP4: {
    blockSize: 32,
    blockBytes: 17,
    values: mxfp4Codes.map(code => mxfp4Values[code] as number),
    codes: mxfp4Codes,
    places: places(32, n => [halves(n, 1)]),
  },
  IQ4_NL: { blockSize: 32, blockBytes: 18, ...iq4, places: places(32, n => [halves(n, 2)]) },
  IQ4_XS: {
    blockSize: 256,
    blockBytes: 136,
    ...iq4,
    places: places(256, n => [halves(n & 31, 8 + (n >> 5) * 16)]),
  },
  Q2_K: { blockSize: 256, blockBytes: 84, ...upTo(3), places: places(256, n => [pair(n, 16, 0)]) },
  Q3_K: {
    blockSize: 256,
    blockBytes: 110,
    ...upTo(7),
    places: places(256, n => [pair(n, 32, 0), bit(n, 0, 2)]),
  },
  Q4_K: { blockSize: 256, blockBytes: 144, ...upTo(15), places: places(256, n => [nibble(n, 16)]) },
  Q5_K: {
    blockSize: 256,
    blockBytes: 176,
    ...upTo(31),
    places: places(256, n => [nibble(n, 48), bit(n, 16, 4)]),
  },
  Q6_K: {
    blockSize: 256,
    blockBytes: 210,
    ...upTo(63),
    places: places(256, n => {
      const [section, row, l] = [n >> 7, (n >> 5) & 3, n & 31]
      const low = { byte: section * 64 + (row & 1) * 32 + l, shift: row < 2 ? 0 : 4, from: 0, bits: 4 }
      return [low, { byte: 128 + section * 32 + l, shift: row * 2, from: 4, bits: 2 }]
    }),
  },
}

/** Puts levels into whole blocks, whose scales stay as they are. */
export function putLevels(
  { blockSize, blockBytes, codes, places }: LevelLayout,
  bytes: Uint8Array,
  levels: ArrayLike<number>,
): void {
  for (let at = 0, first = 0; at < bytes.length; at += blockBytes, first += blockSize) {
    for (const [n, parts] of places.entries()) {
      const code = codes[levels[first + n] ?? 0] ?? 0
      for (const { byte, shift, from, bits } of parts) {
        const mask = (1 << bits) - 1
        const kept = (bytes[at + byte] ?? 0) & ~(mask << shift)
        bytes[at + byte] = kept | (((code >> from) & mask) << shift)
      }
    }
  }
}
