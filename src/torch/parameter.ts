// Tensors that belong to a module and live until it is disposed.

import { Tensor } from './tensor.ts'

/** A trainable tensor, outside of every tidy() scope. Takes the data over: the tensor passed in is disposed. */
export class Parameter extends Tensor {
  constructor(data: Tensor) {
    super(data.newHandle())
    data.dispose()
    this.persist()
    this.requiresGrad_()
  }
}

/**
 * State of a module that is saved but not trained, as counts and biases are; it keeps its dtype when the module's weights
 * are converted. Takes the data over.
 */
export class Constant extends Tensor {
  constructor(data: Tensor) {
    super(data.newHandle())
    data.dispose()
    this.persist()
  }
}

/** What a module makes from its settings and keeps: it moves with the module and is not saved. Takes the data over. */
export class Derived extends Tensor {
  constructor(data: Tensor) {
    super(data.newHandle())
    data.dispose()
    this.persist()
  }
}
