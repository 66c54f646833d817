// One expert's part of a stacked parameter, moved by an optimizer as if it were a parameter of its own.

import { declared, Parameter } from '../../nn/index.ts'
import { noGrad, type Tensor } from '../../torch/index.ts'

/** A view of the memory of a stack [E, ...]: [...]. Its gradient is that expert's part of the stack's. */
export class ExpertSlice extends Parameter {
  readonly #stack: Parameter
  readonly #expert: number

  private constructor(stack: Parameter, expert: number) {
    const { stacked: _, ...declaration } = stack.declaration
    super({ ...declaration, shape: stack.shape.slice(1) })
    this.#stack = stack
    this.#expert = expert
  }

  /** @param stack a parameter that keeps its memory from now on */
  static of(stack: Parameter, expert: number): ExpertSlice {
    const slice = declared(() => new ExpertSlice(stack, expert))
    slice.make(noGrad(() => stack.detach().select(0, expert)))
    return slice
  }

  override get grad(): Tensor | null {
    return this.#stack.grad?.select(0, this.#expert) ?? null
  }
}
