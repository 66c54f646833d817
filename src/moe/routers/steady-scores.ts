// Scores of experts that, to the last bit, do not depend on which tokens are scored together.
// Shapes: T tokens, D model, E experts.

import type { Module } from '../../nn/index.ts'
import { cat, encodedLinear, type Tensor } from '../../torch/index.ts'
import { LinearRouter } from './linear.ts'

/** Rows that kernels for encoded weights take one after the other, each for itself. */
const rowsApart = 4

/**
 * `x W^T`, [T, D] and [E, D] to [T, E]. A library's product sums in an order that goes by T; where a score is close to the next
 * that decides which expert a token gets. In f32 on a CPU this one sums every row by the same loop.
 */
export function steadyProduct(xTD: Tensor, weightED: Tensor): Tensor {
  const [tokens, experts] = [xTD.size(0), weightED.size(0)]
  if (xTD.dtype !== 'f32' || xTD.device !== 'cpu' || tokens === 0) return xTD.matmul(weightED.t())
  const rows = weightED.viewDtype('u8') // [E, 4 D]
  const parts = Array.from({ length: Math.ceil(tokens / rowsApart) }, (_, i) => {
    const some = xTD.narrow(0, i * rowsApart, Math.min(rowsApart, tokens - i * rowsApart))
    return encodedLinear(some, rows, 'F32', experts)
  })
  return parts.length === 1 ? (parts[0] as Tensor) : cat(parts)
}

/** From now on the routers of a model that score by a linear map do it so; for inference alone. */
export function scoreSteadily(model: Module): void {
  for (const [, module] of model.namedModules())
    if (module instanceof LinearRouter) module.product = steadyProduct
}
