// Where the matrices of experts lie in files, so that one expert can be read by itself.

import { isDeepStrictEqual } from 'node:util'
import { type GgmlTypeName, ggmlTypes } from '../../formats/index.ts'
import { type Buffer, Parameter } from '../../nn/index.ts'
import { incomplete } from './encoded.ts'
import { byParameter, type MatchedPiece } from './matching.ts'
import { type ByteRange, float8Rows } from './stored-tensor.ts'
import { isReordered } from './tensor-part.ts'

/** How a file has the rows of a matrix. */
export interface RowForm {
  /** How rows are encoded: a GGML type, `BF16`, `F16`, `F32` or `F8_E4M3_B128`. */
  encoding: string
  /** Whether values and scales lie apart: ranges have those of each part by turns, and rows are to be packed. */
  isApart: boolean
  /** Whether the two halves of the rows come by turns. */
  isAlternating: boolean
}

/** One matrix of each expert of a layer. */
export interface ExpertRows extends RowForm {
  /** Rows of one expert's matrix, and values of a row. */
  shape: readonly [rows: number, columns: number]
  /** Bytes of one expert's matrix, its rows packed. */
  bytes: number
  /** Where they are, in the order of rows. */
  rangesOf(expert: number): ByteRange[]
}

/**
 * The stacks of matrices that files have row by row, by the parameter that they are of: all of a layer, or none. Stacks whose
 * rows lie otherwise, as inputs first, are not among them.
 */
export function expertRows(
  tensors: ReadonlyMap<string, Parameter | Buffer>,
  pieces: readonly MatchedPiece[],
): Map<string, ExpertRows> {
  const found = new Map(
    [...byParameter(pieces)].flatMap(([path, group]) => {
      const parameter = tensors.get(path)
      const rows = parameter instanceof Parameter ? rowsOf(parameter, group) : null
      return rows === null ? [] : [[path, rows] as const]
    }),
  )
  for (const path of incomplete(found, tensors)) found.delete(path)
  return found
}

function rowsOf({ declaration, shape }: Parameter, pieces: readonly MatchedPiece[]): ExpertRows | null {
  const { stacked, encodable, role } = declaration
  const [experts = 0, rows = 0, columns = 0] = shape
  const form = commonForm(pieces)
  if (role !== 'experts' || !stacked || !encodable || shape.length !== 3 || form === null) return null
  const inOrder = pieces.toSorted((a, b) => (a.rows?.[0] ?? 0) - (b.rows?.[0] ?? 0))
  const rangesOf = (expert: number): ByteRange[] =>
    inOrder.flatMap(({ index, stored }) => {
      if (index === undefined) return stored.ranges(expert)
      return index === expert ? stored.ranges() : []
    })
  const bytes = bytesOfValues(form.encoding, rows * columns)
  return experts === 0 ? null : { ...form, shape: [rows, columns], bytes, rangesOf }
}

/** How a file has rows; null when it has none as the model has them. */
function formOf({ stored, rows, index: _, alternating, ...order }: MatchedPiece): RowForm | null {
  const encoding = stored.rowEncoding
  const isAlternating = alternating === 'rows'
  const isInOrder = !isReordered(order) && alternating !== 'columns' && !(isAlternating && rows !== undefined)
  return encoding !== null && isInOrder ? { encoding, isApart: stored.isApart, isAlternating } : null
}

/** How a file has the rows of all of the pieces; null when they are not alike. */
function commonForm(pieces: readonly MatchedPiece[]): RowForm | null {
  const [first = null, ...others] = pieces.map(formOf)
  return others.every(form => isDeepStrictEqual(form, first)) ? first : null
}

function bytesOfValues(encoding: string, count: number): number {
  const { blockSize, blockBytes } =
    encoding === float8Rows.encoding ? float8Rows : ggmlTypes[encoding as GgmlTypeName]
  return (count / blockSize) * blockBytes
}
