import { dropout, type Tensor } from '../torch/index.ts'
import { Module } from './module.ts'

/** Zeroes each element with probability `rate` while training and scales the rest by `1 / (1 - rate)`. */
export class Dropout extends Module {
  /** May be changed at any time. */
  rate: number

  constructor(rate: number) {
    super()
    this.rate = rate
  }

  forward(x: Tensor): Tensor {
    return this.training && this.rate > 0 ? dropout(x, this.rate, true) : x
  }
}
