// Parts of tensors in memory as files have them: views, to be filled or written out.

import { invariant } from '../../errors.ts'
import type { Tensor } from '../../torch/index.ts'
import type { CheckpointPiece, TensorPart } from '../architectures/architecture.ts'

/** The view of a parameter that a file's tensor stands for; it has the file's elements in the file's order. */
export function partOf(parameters: ReadonlyMap<string, Tensor>, piece: CheckpointPiece): Tensor {
  const whole = parameters.get(piece.parameter)
  invariant(whole, `the model has no parameter ${piece.parameter}`)
  return viewOfPart(whole.detach(), piece)
}

/** The view of `whole`, whose last dimension may be a row's encoded bytes as well as its numbers. */
export function viewOfPart(whole: Tensor, part: TensorPart): Tensor {
  let view = part.index === undefined ? whole : whole.select(0, part.index)
  if (part.rows) view = view.narrow(view.ndim > 1 ? -2 : 0, ...part.rows)
  if (part.columns) view = view.slice(-1, part.columns[0], null, part.columns[1])
  if (part.headRows) {
    const { heads, rows } = part.headRows
    view = view.view([heads, -1, view.size(-1)]).narrow(1, ...rows)
  }
  if (part.transposed) view = view.transpose(-1, -2)
  // [heads, half, i, ...] -> [heads, i, half, ...]
  if (part.pairedHeads) view = view.view([part.pairedHeads, 2, -1, ...view.shape.slice(1)]).transpose(1, 2)
  return view
}

/** Whether a piece is its parameter, as it is. */
export function isWhole({ index, rows, columns, headRows, transposed, pairedHeads }: TensorPart): boolean {
  return [index, rows, columns, headRows, transposed, pairedHeads].every(field => field === undefined)
}
