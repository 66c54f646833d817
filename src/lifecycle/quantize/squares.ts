// How large the inputs of matrices are, column by column: what a calibration collects.
// Shapes: M matrices, K columns.

import { type Tensor, tidy } from '../../torch/index.ts'

/** Squared inputs of the matrices of one tensor. */
export interface InputSquares {
  /** `[M, K]`: the sum of squares of what each column was multiplied by. */
  sums: Float64Array
  /** `[M]`: how many inputs there were; of experts, the tokens that were routed to each. */
  counts: number[]
}

export const columnsOf = ({ sums, counts }: InputSquares): number => sums.length / counts.length

/** What a column counts at least, of the mean over columns: as GPTQ dampens (arXiv:2210.17323, section 3.3, step 3). */
const damping = 0.01

/**
 * How much the squared error of each column of a matrix counts: `E[x_i^2]`, since an error e in column i adds `e^2 E[x_i^2]`
 * to the expected squared error of the output where inputs do not correlate; plus 1% of the columns' mean, so that one
 * without inputs is not ruined.
 *
 * @returns `[K]`, or null for a matrix that no input has reached
 */
export function columnImportance(squares: InputSquares, matrix: number): Float32Array | null {
  const [columns, count] = [columnsOf(squares), squares.counts[matrix] ?? 0]
  const sums = squares.sums.subarray(matrix * columns, (matrix + 1) * columns)
  const mean = sums.reduce((a, b) => a + b, 0) / columns
  if (count === 0 || mean === 0) return null
  return Float32Array.from(sums, sum => (sum + damping * mean) / count)
}

/** Takes note of inputs that come in batches. */
export interface InputTally {
  /**
   * @param parameter its path
   * @param matrices M of it
   * @param x `[n, K]`: inputs of one of them
   */
  add(parameter: string, matrices: number, matrix: number, x: Tensor): void
}

/** Sums of squares. */
export class SquaresTally implements InputTally {
  readonly #tally = new Map<string, InputSquares>()

  add(parameter: string, matrices: number, matrix: number, x: Tensor): void {
    const squares = tidy(() => x.double().square().sum(0).toTypedArray<'f64'>()) // [K]
    const columns = squares.length
    const known = this.#tally.get(parameter) ?? {
      sums: new Float64Array(matrices * columns),
      counts: new Array<number>(matrices).fill(0),
    }
    this.#tally.set(parameter, known)
    for (const [i, square] of squares.entries()) known.sums[matrix * columns + i]! += square
    known.counts[matrix]! += x.size(0)
  }

  get byParameter(): ReadonlyMap<string, InputSquares> {
    return this.#tally
  }
}
