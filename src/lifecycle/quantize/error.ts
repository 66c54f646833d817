// What rounding costs: the expected squared error of a tensor's outputs, as its calibration estimates it.
// Shapes: M matrices, K columns.

import type { GgmlTypeName } from '../../formats/index.ts'
import { dequantize } from '../../models/index.ts'
import { type Tensor, tensor, tidy } from '../../torch/index.ts'
import { columnImportance, type InputSquares } from './squares.ts'

/** What errors of a matrix cost. */
export interface MatrixWeight {
  /** The share of inputs that the matrix gets; 1 for all where none were seen. */
  share: number
  /** The expected squared output of a difference, [n, K]. */
  weigh(off: Tensor): number
}

const perColumn = (off: Tensor): Tensor => off.square().double().sum(0) // [K]
const sumOf = (values: Tensor): number => Number(values.sum().item())

/** `tr(E H E^T) / n`, where the products of n inputs are known: correlations count, too. */
export const byProducts =
  (hessian: Tensor, count: number): MatrixWeight['weigh'] =>
  off =>
    tidy(() => sumOf(off.matmul(hessian).mul(off).double()) / count)

/** How the columns of a tensor's matrices count; null: no calibration has seen it. */
export class Importance {
  readonly #squares: InputSquares | null
  readonly #total: number

  constructor(squares: InputSquares | null) {
    this.#squares = squares
    this.#total = squares?.counts.reduce((a, b) => a + b, 0) ?? 0
  }

  /** `[K]` of one matrix; null where it has no samples, and all columns count alike. */
  columns(matrix: number): Float32Array | null {
    return this.#squares && columnImportance(this.#squares, matrix)
  }

  /** Its samples. */
  count(matrix: number): number {
    return this.#squares?.counts[matrix] ?? 0
  }

  /** How much errors of this matrix count. */
  weightOf(matrix: number): MatrixWeight {
    const columns = this.columns(matrix)
    const share = this.#squares && this.#total > 0 ? (this.#squares.counts[matrix] ?? 0) / this.#total : 1
    return {
      share,
      weigh: off => tidy(() => sumOf(columns ? perColumn(off).mul(tensor(columns)) : perColumn(off))),
    }
  }
}

/**
 * Sums over the rows of a tensor, of one type or several in turn.
 *
 * `error = sum_e f_e sum_ri E[x_ei^2] (w_eri - q_eri)^2 / sum_e f_e sum_ri E[x_ei^2] w_eri^2`
 *
 * is the squared error of an expert's outputs relative to their size, experts weighted by how often they are chosen: the
 * frequency and loss of MC-MoE (arXiv:2410.06270, equation 5) with both exponents at 1 for squared errors, without its routing
 * weights, which importance matrices do not hold. Being relative, it can be added up over tensors.
 */
export class ErrorSum {
  #error = 0
  #size = 0

  /**
   * @param rows f32 [n, K] of one matrix
   * @param bytes the same rows, rounded to `type`
   */
  add(rows: Tensor, bytes: Tensor, type: GgmlTypeName, { share, weigh }: MatrixWeight): void {
    tidy(() => {
      const off = dequantize(bytes, type).view(rows.shape).sub(rows)
      this.#error += share * weigh(off)
      this.#size += share * weigh(rows)
    })
  }

  /** Not below 0; 0 for zeros alone. */
  get relative(): number {
    return this.#size > 0 ? this.#error / this.#size : 0
  }
}
