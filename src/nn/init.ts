// Initial values. They draw from libtorch's shared generator: manualSeed() makes them repeat.

import { noGrad, type Tensor } from '../torch/index.ts'

let skipping = false

/** Makes modules without drawing initial values, for weights that are about to be loaded. Memory stays untouched. */
export function skipInit<T>(make: () => T): T {
  const before = skipping
  skipping = true
  try {
    return make()
  } finally {
    skipping = before
  }
}

function initialize(tensor: Tensor, draw: () => void): Tensor {
  if (!skipping) noGrad(draw)
  return tensor
}

/** Normal with mean 0. */
export function normal(tensor: Tensor, std: number): Tensor {
  return initialize(tensor, () => tensor.normal_(0, std))
}

/**
 * Normal with mean 0, redrawn beyond two standard deviations: uniform quantiles through the inverse normal
 * distribution function, `x = std sqrt(2) erfinv(u)`, `u` uniform on `+-erf(sqrt 2)`.
 */
export function truncatedNormal(tensor: Tensor, std: number): Tensor {
  const bound = 0.9544997361036416 // erf(sqrt(2)): the mass within two standard deviations
  return initialize(tensor, () =>
    tensor
      .uniform_(-bound, bound)
      .erfinv_()
      .mul_(std * Math.SQRT2),
  )
}

/** Uniform on `+-bound`. */
export function uniform(tensor: Tensor, bound: number): Tensor {
  return initialize(tensor, () => tensor.uniform_(-bound, bound))
}

/** Every element one value. */
export function constant(tensor: Tensor, value: number): Tensor {
  return initialize(tensor, () => tensor.fill_(value))
}
