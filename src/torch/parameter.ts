// Tensors that belong to a module and live until it is disposed.

import { Tensor } from './tensor.ts'

/** A trainable tensor. Takes over the data without a copy; lives outside of every tidy() scope. */
export class Parameter extends Tensor {
  constructor(data: Tensor) {
    super(data.newHandle())
    this.persist()
    this.requiresGrad_()
  }
}

/** State of a module that is saved but not trained, as counts and biases are. */
export class Constant extends Tensor {
  constructor(data: Tensor) {
    super(data.newHandle())
    this.persist()
  }
}
