// The products of inputs that GPTQ rounds by, for so many matrices at once as memory allows.
// Shapes: M matrices, K columns, n inputs.

import type { CausalLM } from '../../models/index.ts'
import { type Tensor, tidy, zeros } from '../../torch/index.ts'
import { readTexts, type TextBatch } from './calibrate.ts'
import { observeInputs } from './observe.ts'
import type { InputSquares, InputTally } from './squares.ts'

/** Bytes of products that are in memory at once; a parameter that takes more is taken alone. */
const mostBytes = 2 ** 31

/**
 * `H = 2 X X^T` of each matrix of a model's parameters (arXiv:2210.17323, equation 3), up to a factor that cancels. They are
 * collected when they are asked for, a few parameters at a time in the order of the file: the texts are read again for each few.
 */
export class Hessians implements InputTally {
  readonly #model: CausalLM
  readonly #texts: readonly TextBatch[]
  readonly #squares: ReadonlyMap<string, InputSquares>
  #sums = new Map<string, Tensor[]>()

  /**
   * @param model observes from now on
   * @param squares of the same texts, by parameter; see calibrate()
   */
  constructor(model: CausalLM, texts: readonly TextBatch[], squares: ReadonlyMap<string, InputSquares>) {
    this.#model = model
    this.#texts = texts
    this.#squares = squares
    observeInputs(model, this)
  }

  /** `[K, K]` of one matrix; null where it has fewer samples than columns, so that most of H would be made up. */
  of(parameter: string, matrix: number): Tensor | null {
    const squares = this.#squares.get(parameter)
    if (!squares) return null
    const { sums, counts } = squares
    if ((counts[matrix] ?? 0) < sums.length / counts.length) return null
    if (!this.#sums.has(parameter)) this.#collectFrom(parameter)
    return this.#sums.get(parameter)?.[matrix] ?? null
  }

  add(parameter: string, _: number, matrix: number, x: Tensor): void {
    const sum = this.#sums.get(parameter)?.[matrix]
    if (sum) tidy(() => void sum.add_(x.float().t().matmul(x.float())))
  }

  /** This parameter and those after it that fit beside it. */
  #collectFrom(parameter: string): void {
    this[Symbol.dispose]()
    const paths = [...this.#squares.keys()]
    let bytes = 0
    for (const path of paths.slice(paths.indexOf(parameter))) {
      const { sums, counts } = this.#squares.get(path) as InputSquares
      const columns = sums.length / counts.length
      bytes += 4 * columns ** 2 * counts.length
      if (bytes > mostBytes && this.#sums.size > 0) break
      this.#sums.set(
        path,
        counts.map(() => zeros([columns, columns]).persist()),
      )
    }
    for (const rows of this.#texts) readTexts(this.#model, rows)
  }

  [Symbol.dispose](): void {
    for (const sums of this.#sums.values()) for (const sum of sums) sum.dispose()
    this.#sums = new Map()
  }
}
