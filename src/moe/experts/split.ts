// Fine-grained experts: one into several narrow ones (DeepSeekMoE, arXiv:2401.06066 section 3.1).
// Shapes: E experts, D model, F expert width, m pieces.

import { ConfigError } from '../../errors.ts'
import { undrawn } from '../../nn/index.ts'
import { noGrad, tidy } from '../../torch/index.ts'
import { GatedExperts } from './gated.ts'

/**
 * Each expert cut along its width: expert e becomes `e m .. e m + m - 1`, of width `F / m`. Hidden units do not mix
 * before the last projection, so the pieces add up to the expert: `sum_j piece_j(x) = expert(x)`, all weights 1. A
 * router of the new experts with m K slots makes K slots' worth of work, out of many more combinations.
 *
 * A copy: the original stays as it is.
 *
 * @throws ConfigError unless `pieces` divides the width
 */
export function splitExperts(experts: GatedExperts, pieces: number): GatedExperts {
  const [numExperts, hiddenSize, width] = experts.down_proj.shape as [number, number, number]
  if (!Number.isInteger(pieces) || pieces < 1 || width % pieces !== 0) {
    throw new ConfigError(`must divide the experts' width ${width}, got ${pieces}`, { path: 'pieces' })
  }
  const part = width / pieces
  const narrow = undrawn(
    () =>
      new GatedExperts({
        numExperts: numExperts * pieces,
        hiddenSize,
        intermediateSize: part,
        activation: experts.activation,
        dropout: experts.dropout,
      }),
  )
  const { dtype, device } = experts.down_proj
  narrow.to(dtype).to(device)
  return noGrad(() =>
    tidy(() => {
      const gateUp = experts.gate_up_proj.view([numExperts, 2, pieces, part, hiddenSize]).transpose(1, 2) // [E, m, 2, F/m, D]
      const down = experts.down_proj.view([numExperts, hiddenSize, pieces, part]).transpose(1, 2) // [E, m, D, F/m]
      narrow.gate_up_proj.copy_(gateUp.reshape(narrow.gate_up_proj.shape))
      narrow.down_proj.copy_(down.reshape(narrow.down_proj.shape))
      return narrow
    }),
  )
}
