// What a layer gives a token, kept from depending, in its last bits, on which tokens pass with it.
// Shapes: T tokens, D model, E experts.

import { LatentAttention, Linear, linearBy, type Module } from '../nn/index.ts'
import { cat, encodedLinear, steadyProducts, type Tensor, zeros } from '../torch/index.ts'
import { LinearRouter } from './routers/linear.ts'
import { SharedExpertMoe } from './shared-expert.ts'

const isSteady = (x: Tensor): boolean => x.dtype === 'f32' && x.device === 'cpu'

/**
 * `x W^T`, [T, D] and [E, D] to [T, E]. A library's product sums in an order that goes by T; where a score is close to the next
 * that decides which expert a token gets. In f32 on a CPU this one sums every row by the same loop, as layers on encoded weights do.
 */
export function steadyProduct(xTD: Tensor, weightED: Tensor): Tensor {
  if (!isSteady(xTD)) return xTD.matmul(weightED.t())
  return encodedLinear(xTD, weightED.viewDtype('u8'), 'F32', weightED.size(0)) // of [E, 4 D]
}

/** Numbers of which libtorch's vectors are never cut short, and so many that it does not share them out among threads. */
const [whole, most] = [64, 1 << 14]

/**
 * The sigmoid of each number. What libtorch's vectors leave over at the end of a tensor it computes by another exponential, so in
 * f32 on a CPU nothing is left over here.
 */
export function steadySigmoid(x: Tensor): Tensor {
  if (!isSteady(x) || x.numel === 0) return x.sigmoid()
  const [count, rest] = [x.numel, (whole - (x.numel % whole)) % whole]
  const padded = rest === 0 ? x.reshape([-1]) : cat([x.reshape([-1]), zeros([rest])])
  const parts = Array.from({ length: Math.ceil(count / most) }, (_, i) =>
    padded.narrow(0, i * most, Math.min(most, count + rest - i * most)).sigmoid(),
  )
  const all = parts.length === 1 ? (parts[0] as Tensor) : cat(parts)
  return all.narrow(0, 0, count).view(x.shape)
}

/** A linear layer whose weights are plain numbers, by steadyProduct(). */
const steadyLinear: typeof linearBy = (x, weight, bias = null) => {
  if (weight.encoding !== null || !isSteady(x)) return linearBy(x, weight, bias)
  const y = steadyProduct(x.reshape([-1, weight.size(1)]), weight).view([
    ...x.shape.slice(0, -1),
    weight.size(0),
  ])
  return bias === null ? y : y.add(bias)
}

/**
 * From now on what a model computes of a token does not depend, to the last bit, on the tokens beside it, as far as libraries
 * would have it otherwise: linear layers, routers that score by a linear map, gates of shared experts, latent attention. For
 * inference alone. Experts are so where their weights are as files have them.
 */
export function computeSteadily(model: Module): void {
  for (const [, module] of model.namedModules()) {
    if (module instanceof Linear) module.product = steadyLinear
    if (module instanceof LatentAttention)
      module.product = (x, maps) => (isSteady(x) ? steadyProducts(x, maps) : x.matmul(maps))
    if (module instanceof LinearRouter) module.product = steadyProduct
    if (module instanceof LinearRouter || module instanceof SharedExpertMoe) module.sigmoid = steadySigmoid
  }
}
