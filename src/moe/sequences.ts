// Sequences among flat tokens: sequence b is the tokens `starts[b] .. starts[b + 1] - 1`.
// Shapes: T tokens, B sequences.

import { type Rows, rowsOf } from '../nn/index.ts'
import { arange, cat, type Device, type Tensor, tensor } from '../torch/index.ts'

/** B + 1 numbers, 0 first and T last. */
export type Starts = readonly number[]

/** Starts of so many sequences of one length. */
export function equalStarts(sequences: number, length: number): number[] {
  return Array.from({ length: sequences + 1 }, (_, b) => b * length)
}

/** Starts of the sequences of x [..., S, D]; x [T, D] is one. */
export function startsOf(x: Tensor): number[] {
  const [length, width] = [x.size(-2), x.size(-1)]
  return equalStarts(length * width === 0 ? 0 : x.numel / (length * width), length)
}

/** Sequences that have tokens: all as one batch where they are equally long, else one at a time. */
function filledRows(starts: Starts): Rows[] {
  return rowsOf(starts).filter(({ length, sequences }) => length > 0 && sequences > 0)
}

/** Sequences that have tokens. */
export function countSequences(starts: Starts): number {
  return filledRows(starts).reduce((sum, { sequences }) => sum + sequences, 0)
}

/** `compute` of all sequences that have tokens, its rows one after the other; `nothing` when none has. */
export function bySequence(starts: Starts, nothing: Tensor, compute: (rows: Rows) => Tensor): Tensor {
  const [first = nothing, ...others] = filledRows(starts).map(compute)
  return others.length === 0 ? first : cat([first, ...others])
}

/** i64 [T]: which of the sequences that have tokens each token is of. */
export function sequenceOfToken(starts: Starts, device: Device): Tensor {
  const rows = filledRows(starts)
  const [{ sequences, length } = { sequences: 0, length: 1 }] = rows
  if (rows.length <= 1) return arange(0, sequences * length, 1, { device }).floorDivide(length)
  const owners = rows.flatMap((row, b) => new Array<number>(row.length).fill(b))
  return tensor(Int32Array.from(owners)).long().to(device)
}
