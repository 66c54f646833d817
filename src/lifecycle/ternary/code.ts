// Rows of ternary symbols in codes of 16 bits, and back, without loss: below a bit per symbol where nine of ten are zero.

import { FormatError, invariant } from '../../errors.ts'
import { ternaryDictionary } from './dictionary.ts'

export interface TernaryCodes {
  /** Of all rows, one after the other. */
  codes: Uint16Array
  /** `[rows + 1]`: where the codes of each row begin, and the last end. */
  offsets: Uint32Array
}

/**
 * Each row as the longest sequences that the dictionary has, from its beginning on.
 *
 * @param symbols 0, 1 or 2, `[rows, columns]`
 * @param columns of a row; an even number
 */
export function encodeTernary(symbols: Uint8Array, columns: number): TernaryCodes {
  invariant(columns > 0 && columns % 2 === 0, `rows of pairs have an even length, not ${columns}`)
  const { next } = ternaryDictionary()
  const root = next.length / 9 - 1
  const rows = symbols.length / columns
  const codes: number[] = []
  const offsets = new Uint32Array(rows + 1)
  for (let row = 0; row < rows; row++) {
    let sequence = root
    for (let at = row * columns; at < (row + 1) * columns; at += 2) {
      const pair = 3 * (symbols[at] ?? 0) + (symbols[at + 1] ?? 0)
      const longer = next[sequence * 9 + pair] as number
      if (longer === -1) codes.push(sequence)
      sequence = longer === -1 ? (next[root * 9 + pair] as number) : longer
    }
    codes.push(sequence)
    offsets[row + 1] = codes.length
  }
  return { codes: Uint16Array.from(codes), offsets }
}

/**
 * The symbols again.
 *
 * @param file that the codes are from, for the error
 * @throws FormatError for codes that give rows of another length
 */
export function decodeTernary({ codes, offsets }: TernaryCodes, columns: number, file = 'codes'): Uint8Array {
  const { before, last, length } = ternaryDictionary()
  const rows = offsets.length - 1
  const symbols = new Uint8Array(rows * columns)
  for (let row = 0; row < rows; row++) {
    let at = row * columns
    for (const code of codes.subarray(offsets[row], offsets[row + 1])) {
      const end = at + 2 * (length[code] as number)
      if (end > (row + 1) * columns)
        throw new FormatError(`row ${row} has more than its ${columns} symbols: it is damaged`, { file })
      for (let [place, part] = [end - 2, code]; part !== -1; place -= 2, part = before[part] as number) {
        const pair = last[part] as number
        symbols[place] = Math.floor(pair / 3)
        symbols[place + 1] = pair % 3
      }
      at = end
    }
    if (at !== (row + 1) * columns)
      throw new FormatError(`row ${row} has fewer than its ${columns} symbols: it is damaged`, { file })
  }
  return symbols
}
