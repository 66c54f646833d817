// How a fresh model's weights start.

import {
  type Declaration,
  fill,
  type Init,
  type Module,
  normal,
  type Parameter,
  type Role,
} from '../../nn/index.ts'
import { noGrad, tidy } from '../../torch/index.ts'

export interface Start {
  std: number
  /** The embedding, and the token of it that pads. */
  table: Parameter
  padding: number | null
  /** Roles whose matrices stay as their own files have them. Default: none. */
  ownStart?: readonly Role[]
}

/** Draws a model's weights as HF does: every matrix normal, norms one, and the padding token's row zero. */
export function startWeights(model: Module, start: Start): void {
  const { table, padding } = start
  for (const parameter of model.parameters()) {
    const { declaration } = parameter
    const init = startOf(declaration, start)
    if (init !== declaration.init) fill(parameter, init) // the others were made so
  }
  if (padding !== null) noGrad(() => tidy(() => void table.select(0, padding).zero_()))
}

/** How one parameter starts. */
export function startOf({ shape, role, init }: Declaration, { std, ownStart = [] }: Start): Init {
  return shape.length > 1 && !ownStart.includes(role) ? normal(std) : init
}
