// Which bits of a block are the levels of its numbers, for types whose numbers are `low + step level` with scales that stand
// elsewhere in the block: levels can be chosen for scales that are there.

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
  /** The highest level; the lowest is 0. */
  most: number
  /** Of each number of a block. */
  places: readonly (readonly LevelBits[])[]
}

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

/** Types that have levels so; the layouts are those of simple.ts and k-quants.ts. */
export const levelLayouts: Partial<Record<GgmlTypeName, LevelLayout>> = {
  Q4_0: {
    blockSize: 32,
    blockBytes: 18,
    most: 15,
    places: places(32, n => [{ byte: 2 + (n & 15), shift: (n >> 4) * 4, from: 0, bits: 4 }]),
  },
  Q2_K: { blockSize: 256, blockBytes: 84, most: 3, places: places(256, n => [pair(n, 16, 0)]) },
  Q3_K: {
    blockSize: 256,
    blockBytes: 110,
    most: 7,
    places: places(256, n => [pair(n, 32, 0), bit(n, 0, 2)]),
  },
  Q4_K: { blockSize: 256, blockBytes: 144, most: 15, places: places(256, n => [nibble(n, 16)]) },
  Q5_K: {
    blockSize: 256,
    blockBytes: 176,
    most: 31,
    places: places(256, n => [nibble(n, 48), bit(n, 16, 4)]),
  },
  Q6_K: {
    blockSize: 256,
    blockBytes: 210,
    most: 63,
    places: places(256, n => {
      const [section, row, l] = [n >> 7, (n >> 5) & 3, n & 31]
      const low = { byte: section * 64 + (row & 1) * 32 + l, shift: row < 2 ? 0 : 4, from: 0, bits: 4 }
      return [low, { byte: 128 + section * 32 + l, shift: row * 2, from: 4, bits: 2 }]
    }),
  },
}

/** Puts levels into whole blocks, whose scales stay as they are. */
export function putLevels(
  { blockSize, blockBytes, places }: LevelLayout,
  bytes: Uint8Array,
  levels: ArrayLike<number>,
): void {
  for (let at = 0, first = 0; at < bytes.length; at += blockBytes, first += blockSize) {
    for (const [n, parts] of places.entries()) {
      for (const { byte, shift, from, bits } of parts) {
        const mask = (1 << bits) - 1
        const kept = (bytes[at + byte] ?? 0) & ~(mask << shift)
        bytes[at + byte] = kept | ((((levels[first + n] ?? 0) >> from) & mask) << shift)
      }
    }
  }
}
