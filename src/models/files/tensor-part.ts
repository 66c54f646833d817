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
  if (part.columns) view = view.narrow(-1, ...part.columns)
  if (part.headRows) {
    const { heads, rows } = part.headRows
    view = view.view([heads, -1, view.size(-1)]).narrow(1, ...rows)
  }
  if (part.transposed) view = view.transpose(-1, -2)
  // [heads, half, i, ...] -> [heads, i, half, ...]
  if (part.pairedHeads) view = view.view([part.pairedHeads, 2, -1, ...view.shape.slice(1)]).transpose(1, 2)
  if (part.alternating) view = byTurns(view, part.alternating === 'rows' ? -2 : -1)
  return view
}

/** [..., 2 n, ...] -> [..., n, 2, ...] */
function byTurns(halves: Tensor, dimension: -1 | -2): Tensor {
  const at = halves.ndim + dimension
  const [before, after] = [halves.shape.slice(0, at), halves.shape.slice(at + 1)]
  return halves.view([...before, 2, -1, ...after]).transpose(at, at + 1)
}

/** Whether a piece is its parameter, as it is. */
export function isWhole({ index, rows, ...order }: TensorPart): boolean {
  return index === undefined && rows === undefined && !isReordered(order)
}

/** Whether memory has a part's numbers in another order than the file, or has not all columns of its rows there. */
export function isReordered({
  columns,
  headRows,
  transposed,
  pairedHeads,
  alternating,
}: Omit<TensorPart, 'index' | 'rows'>): boolean {
  return [columns, headRows, transposed, pairedHeads, alternating].some(field => field !== undefined)
}
