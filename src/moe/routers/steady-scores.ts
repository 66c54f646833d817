// Scores of experts that, to the last bit, do not depend on which tokens are scored together.
// Shapes: T tokens, D model, E experts.

import type { Module } from '../../nn/index.ts'
import { encodedLinear, type Tensor } from '../../torch/index.ts'
import { LinearRouter } from './linear.ts'

/**
 * `x W^T`, [T, D] and [E, D] to [T, E]. A library's product sums in an order that goes by T; where a score is close to the next
 * that decides which expert a token gets. In f32 on a CPU this one sums every row by the same loop, as layers on encoded weights do.
 */
export function steadyProduct(xTD: Tensor, weightED: Tensor): Tensor {
  if (xTD.dtype !== 'f32' || xTD.device !== 'cpu') return xTD.matmul(weightED.t())
  return encodedLinear(xTD, weightED.viewDtype('u8'), 'F32', weightED.size(0)) // of [E, 4 D]
}

/** From now on the routers of a model that score by a linear map do it so; for inference alone. */
export function scoreSteadily(model: Module): void {
  for (const [, module] of model.namedModules())
    if (module instanceof LinearRouter) module.product = steadyProduct
}
