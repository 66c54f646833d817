// E linear maps of one shape that share some of their parameters, and gated experts made of three such families.
// Shapes: E experts, D model, F expert width.

import { type Activation, type Module, undrawn } from '../../nn/index.ts'
import { cat, noGrad, stack, type Tensor, tidy } from '../../torch/index.ts'
import type { ExpertSizes } from './experts.ts'
import { GatedExperts } from './gated.ts'

/** E linear maps without bias. */
export interface LinearFamily {
  /** The whole matrix of one expert: [out, in]. */
  weightOf(expert: number): Tensor
}

/** Experts `down_e(act(gate_e(x)) * up_e(x))` whose projections are families. */
export type FamilyExperts = Module & {
  readonly numExperts: number
  readonly activation: Activation
  readonly gate_proj: LinearFamily // [F, D] each
  readonly up_proj: LinearFamily // [F, D] each
  readonly down_proj: LinearFamily // [D, F] each
}

/** What every structure of families takes. */
export interface FamilyOptions extends ExpertSizes {
  /** Default silu (SwiGLU). */
  activation?: Activation
}

/**
 * The same experts with every matrix written out, which costs their full size and runs the kernel: for serving, or to
 * train on without sharing. A copy: the original stays as it is.
 */
export function writeOutExperts(experts: FamilyExperts): GatedExperts {
  const { numExperts, activation, gate_proj, up_proj, down_proj } = experts
  return noGrad(() =>
    tidy(() => {
      const all = (family: LinearFamily): Tensor =>
        stack(Array.from({ length: numExperts }, (_, e) => family.weightOf(e)))
      const gateUp = cat([all(gate_proj), all(up_proj)], 1) // [E, 2F, D]
      const down = all(down_proj) // [E, D, F]
      const [, hiddenSize, intermediateSize] = down.shape as [number, number, number]
      const whole = undrawn(() => new GatedExperts({ numExperts, hiddenSize, intermediateSize, activation }))
      whole.to(down.dtype).to(down.device)
      whole.loadStateDict(
        new Map([
          ['gate_up_proj', gateUp],
          ['down_proj', down],
        ]),
      )
      return whole
    }),
  )
}
