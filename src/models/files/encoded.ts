// Matrices that stay as their file encodes them.

import { type Buffer, type Declaration, Parameter } from '../../nn/index.ts'
import {
  type EncodedRows,
  empty,
  encodedPanels,
  inPanels,
  panelRows,
  panelsOf,
  type Tensor,
  tidy,
} from '../../torch/index.ts'
import { copyPiece } from './copy-piece.ts'
import { byParameter, type MatchedPiece } from './matching.ts'
import type { MappedFiles } from './tensor-file.ts'
import { isReordered, isWhole, viewOfPart } from './tensor-part.ts'

/**
 * Gives every parameter that can stay encoded the rows of its pieces: in panels where its type has them; else a copy of their
 * bytes in the model's order, or a view of the file where one piece is all of it.
 *
 * @param options.mapped whether views may be kept
 * @returns the paths of those parameters; experts of one layer are all among them, or none
 */
export function keepEncoded(
  tensors: ReadonlyMap<string, Parameter | Buffer>,
  pieces: readonly MatchedPiece[],
  files: MappedFiles,
  { mapped }: { mapped: boolean },
): Set<string> {
  const groups = byParameter(pieces)
  const encodings = new Map(
    [...groups].flatMap(([path, group]) => {
      const encoding = encodingOf(tensors.get(path), group)
      return encoding === null ? [] : [[path, encoding] as const]
    }),
  )
  for (const path of incomplete(encodings, tensors)) encodings.delete(path)
  for (const [path, encoding] of encodings) {
    tidy(() => {
      const parameter = tensors.get(path) as Parameter
      const group = groups.get(path) ?? []
      const rows = panelsByPiece(parameter.shape, group, files, encoding)
      parameter.makeEncoded(rows ?? rowsToKeep(parameter.shape, group, files, { encoding, mapped }))
      if (!mapped) files.forgetPages()
    })
  }
  return new Set(encodings.keys())
}

/** The rows of all pieces together, in panels where their type has them. */
function rowsToKeep(
  shape: readonly number[],
  group: readonly MatchedPiece[],
  files: MappedFiles,
  { encoding, mapped }: { encoding: string; mapped: boolean },
): EncodedRows {
  const rows = rowsOf(shape, group, files)
  const kept = inPanels({ rows, encoding })
  const isCopy = kept.rows !== rows || group.some(({ stored }) => stored.isApart)
  return mapped || isCopy ? kept : { ...kept, rows: rows.clone() }
}

/** The same without a copy in between: each piece goes to its panels at once. Null where pieces are not of whole panels. */
function panelsByPiece(
  shape: readonly number[],
  pieces: readonly MatchedPiece[],
  files: MappedFiles,
  encoding: string,
): EncodedRows | null {
  const kept = panelsOf(encoding)
  const areWhole = pieces.every(
    ({ index: _, rows, ...order }) =>
      !isReordered(order) && (rows ?? []).every(row => panelRows(row, kept) === row),
  )
  if (kept === encoding || !areWhole) return null
  let panels: Tensor | null = null // made when the first piece says how many bytes a row has
  for (const piece of pieces) {
    const rows = piece.stored.rows(files)
    panels ??= empty([...shape.slice(0, -2), panelRows(shape.at(-2) ?? 0, kept), rows.size(-1)], {
      dtype: 'u8',
    })
    encodedPanels(rows, encoding, viewOfPart(panels, piece))
  }
  return panels && { rows: panels, encoding: kept }
}

/** How all of a parameter is encoded; null where it is to be decoded. */
function encodingOf(tensor: Parameter | Buffer | undefined, pieces: readonly MatchedPiece[]): string | null {
  if (!(tensor instanceof Parameter) || !isEncodable(tensor.declaration)) return null
  const encoding = pieces[0]?.stored.rowEncoding ?? null
  const isAlike = pieces.every(
    piece => piece.stored.rowEncoding === encoding && (piece.stored.dtype !== null || hasWholeRows(piece)),
  )
  return isAlike ? encoding : null
}

/** Whether a row of the file is one of the parameter: what is in blocks can be moved by rows alone, halves one by one. */
const hasWholeRows = ({ transposed, columns, alternating }: MatchedPiece): boolean =>
  !transposed && !columns && alternating !== 'columns'

/** Routers decide by small differences, and are small. */
const isEncodable = ({ encodable, role }: Declaration): boolean => encodable === true && role !== 'router'

/** Experts' matrices that would be encoded beside others that are not: one kernel computes with all of a layer's. */
export function incomplete(
  encodings: ReadonlyMap<string, unknown>,
  tensors: ReadonlyMap<string, Parameter | Buffer>,
): string[] {
  const layerOf = (path: string): string => path.slice(0, path.lastIndexOf('.'))
  const stacks = [...tensors].flatMap(([path, { declaration }]) =>
    declaration.stacked && declaration.encodable ? path : [],
  )
  const decoded = new Set(stacks.filter(path => !encodings.has(path)).map(layerOf))
  return stacks.filter(path => decoded.has(layerOf(path)))
}

/** The encoded rows of a parameter: u8 [..., rows, bytes of a row]. */
function rowsOf(shape: readonly number[], pieces: readonly MatchedPiece[], files: MappedFiles): Tensor {
  const [first] = pieces as [MatchedPiece, ...MatchedPiece[]]
  const whole = first.stored.rows(files)
  if (pieces.length === 1 && isWhole(first)) return whole
  if (!pieces.every(hasWholeRows)) return rowsOfNumbers(shape, pieces, files)
  const rows = empty([...shape.slice(0, -1), whole.size(-1)], { dtype: 'u8' })
  for (const piece of pieces) {
    const part = viewOfPart(rows, piece)
    part.copy_(piece.stored.rows(files).view(part.shape))
  }
  return rows
}

/** The same of halves that a file has in another order, as gpt-oss's experts with their inputs first. */
function rowsOfNumbers(
  shape: readonly number[],
  pieces: readonly MatchedPiece[],
  files: MappedFiles,
): Tensor {
  const [{ parameter, stored }] = pieces as [MatchedPiece, ...MatchedPiece[]]
  const numbers = empty(shape, { dtype: stored.dtype ?? 'f32' })
  for (const piece of pieces) copyPiece(new Map([[parameter, numbers]]), piece, files)
  return numbers.viewDtype('u8')
}
