// Where the matrices of experts lie in files, so that one expert can be read by itself.

import { type Buffer, Parameter } from '../../nn/index.ts'
import { incomplete } from './encoded.ts'
import { byParameter, type MatchedPiece } from './matching.ts'
import type { ByteRange } from './stored-tensor.ts'

/** One matrix of each expert of a layer. */
export interface ExpertRows {
  /** How rows are encoded: a GGML type, `BF16`, `F16` or `F32`. */
  encoding: string
  /** Rows of one expert's matrix, and values of a row. */
  shape: readonly [rows: number, columns: number]
  /** Bytes of one expert's matrix. */
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
  const encoding = encodingOf(pieces)
  if (role !== 'experts' || !stacked || !encodable || shape.length !== 3 || encoding === null) return null
  const inOrder = pieces.toSorted((a, b) => (a.rows?.[0] ?? 0) - (b.rows?.[0] ?? 0))
  const rangesOf = (expert: number): ByteRange[] =>
    inOrder.flatMap(({ index, stored }) => {
      if (index === undefined) return stored.ranges(expert)
      return index === expert ? stored.ranges() : []
    })
  const bytes = rangesOf(0).reduce((sum, { length }) => sum + length, 0)
  return experts === 0 ? null : { encoding, shape: [rows, columns], bytes, rangesOf }
}

/** How all of the pieces are encoded; null when they are not rows of one encoding as the model has them. */
function encodingOf(pieces: readonly MatchedPiece[]): string | null {
  const encodings = new Set(
    pieces.map(({ stored, transposed, columns, headRows, pairedHeads }) => {
      const isReordered = [transposed, columns, headRows, pairedHeads].some(field => field !== undefined)
      return isReordered ? null : (stored.rowEncoding ?? (stored.dtype === 'f32' ? 'F32' : null))
    }),
  )
  const [encoding = null] = encodings
  return encodings.size === 1 ? encoding : null
}
