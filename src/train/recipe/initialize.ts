// Initial weights as a recipe wants them, in place of those that a model starts with by itself.

import { z } from 'zod'
import { kinds } from '../../kinds.ts'
import type { TrainableModel } from '../../models/index.ts'
import { ownSeed, type Role } from '../../nn/index.ts'
import { noGrad, rand, type Tensor, tidy } from '../../torch/index.ts'

export const initSchema = kinds(
  /** HF's: every matrix normal with model.initializer_range, from one stream of random numbers. */
  z.strictObject({ kind: z.literal('normal') }),
  /**
   * Switch's: `std = sqrt(scale / fan in)`, redrawn beyond two standard deviations; 0.1 in place of the usual 1 keeps sparse
   * models stable (arXiv:2101.03961 section 2.4). Each matrix and each expert has a seed of its own.
   */
  z.strictObject({ kind: z.literal('truncated'), scale: z.number().positive().default(0.1) }),
)

export type Init = z.infer<typeof initSchema>

/**
 * Draws the weights of matrices anew; the routers of our own types, and PEER, keep the start that is part of their rule, as
 * the zeros of noisy top-k are. An expert's depend on the seed, its parameter and its number alone: with more
 * experts the first ones start as before.
 */
export function initialize(model: TrainableModel, init: Init, seed: number): void {
  if (init.kind === 'normal') return
  const ownStart: readonly Role[] = 'ownStart' in model ? model.ownStart : []
  for (const [path, parameter] of model.namedParameters()) {
    const { role } = parameter.declaration
    // An embedding's rows are looked up, not multiplied.
    if (parameter.ndim < 2 || role === 'embedding' || ownStart.includes(role)) continue
    const matrices = parameter.ndim > 2 ? parameter.size(0) : 1
    for (let i = 0; i < matrices; i++) {
      const std = Math.sqrt(init.scale / parameter.size(-1))
      noGrad(() =>
        tidy(() => {
          const matrix = parameter.ndim > 2 ? parameter.detach().select(0, i) : parameter.detach()
          matrix.copy_(truncatedNormal(matrix.shape, std, ownSeed(seed, path, i)))
        }),
      )
    }
  }
}

/** Normal within two standard deviations: `std sqrt(2) erfinv(u)`, u uniform on `+-erf(sqrt 2)`. */
function truncatedNormal(shape: readonly number[], std: number, seed: number): Tensor {
  const bound = 0.9544997361036416 // erf(sqrt(2)): the mass within two standard deviations
  return rand(shape, { seed })
    .mul(2 * bound)
    .sub(bound)
    .erfinv_()
    .mul_(std * Math.SQRT2)
}
