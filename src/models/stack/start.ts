// How a fresh model's weights start.

import { fill, type Module, normal, type Parameter, type Role } from '../../nn/index.ts'
import { noGrad, tidy } from '../../torch/index.ts'

/**
 * As HF does: every matrix normal, norms one, and the padding token's row zero.
 *
 * @param ownStart roles whose matrices stay as their own files have them
 */
export function startWeights(model: Module, { std, table, padding, ownStart = [] }: StartOptions): void {
  for (const parameter of model.parameters())
    if (parameter.ndim > 1 && !ownStart.includes(parameter.declaration.role)) fill(parameter, normal(std))
  if (padding !== null) noGrad(() => tidy(() => void table.select(0, padding).zero_()))
}

interface StartOptions {
  std: number
  /** The embedding, and the token of it that pads. */
  table: Parameter
  padding: number | null
  ownStart?: readonly Role[]
}
