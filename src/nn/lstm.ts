// Long short-term memory.
// Shapes: B batch, S sequence, I inputs, H hidden.

import { lstm, type Tensor, zeros } from '../torch/index.ts'
import { uniform } from './init.ts'
import { Module } from './module.ts'
import { Parameter } from './parameter.ts'

/** What a layer takes from one part of a text to the next: [1, B, H] each. */
export interface LstmState {
  hidden: Tensor
  cell: Tensor
}

/**
 * One layer: `i, f, o = sigmoid(W x + b + U h + d)`, `g = tanh(..)`, `c = f c + i g`, `h = o tanh(c)` (Hochreiter and Schmidhuber, 1997, with
 * forget gates). Names, the order `i, f, g, o` and initial values, uniform on `+-1/sqrt(H)`, are PyTorch's.
 */
export class Lstm extends Module {
  readonly weight_ih_l0: Parameter // [4 H, I]
  readonly weight_hh_l0: Parameter // [4 H, H]
  readonly bias_ih_l0: Parameter // [4 H]
  readonly bias_hh_l0: Parameter // [4 H]

  constructor(inputs: number, hidden: number) {
    super()
    const init = uniform(1 / Math.sqrt(hidden))
    const four = (...columns: number[]): Parameter =>
      new Parameter({ shape: [4 * hidden, ...columns], role: 'dense', init })
    this.weight_ih_l0 = four(inputs)
    this.weight_hh_l0 = four(hidden)
    this.bias_ih_l0 = four()
    this.bias_hh_l0 = four()
  }

  /** x [B, S, I] -> [B, S, H]. @param state of the text so far; default: zeros, as at its start */
  forward(x: Tensor, state: LstmState | null = null): { y: Tensor; state: LstmState } {
    const { dtype, device } = x
    const start = (): Tensor => zeros([1, x.size(0), this.weight_hh_l0.size(1)], { dtype, device })
    const parameters = [this.weight_ih_l0, this.weight_hh_l0, this.bias_ih_l0, this.bias_hh_l0]
    const before = state ? [state.hidden, state.cell] : [start(), start()]
    const [y, hidden, cell] = lstm(x, before, parameters, true, 1, 0, this.training, false, true)
    return { y, state: { hidden, cell } }
  }
}
