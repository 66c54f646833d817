// Tensors that belong to a module and live until it is disposed.

import type { Device, DType } from './dtype.ts'
import type { Handle } from './native.ts'
import { Tensor } from './tensor.ts'

/** Where parameters are to be, and in which type. */
export interface Placement {
  dtype?: DType
  device?: Device
}

let placement: Placement = {}

/**
 * Makes modules whose parameters are of a type and on a device from the start, so that a large model is never held twice.
 * What is not a parameter follows with Module.to().
 */
export function placeParameters<T>(at: Placement, make: () => T): T {
  const before = placement
  placement = at
  try {
    return make()
  } finally {
    placement = before
  }
}

/** The handle of the data where it is to be; the tensor passed in is disposed. */
function placed(data: Tensor): Handle {
  const there = data.to(placement)
  const handle = there.newHandle()
  if (there !== data) there.dispose()
  data.dispose()
  return handle
}

/** A trainable tensor, outside of every tidy() scope. Takes the data over: the tensor passed in is disposed. */
export class Parameter extends Tensor {
  constructor(data: Tensor) {
    super(placed(data))
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
