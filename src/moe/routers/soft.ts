// Soft MoE: every slot is a weighted mean of all tokens, so nothing is chosen and nothing dropped (arXiv:2308.00951).
// Fully differentiable; for encoders, since every output depends on every token of its sequence.
// Shapes: B sequences of S tokens, T = B S tokens, D model, E experts, P slots per expert.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { atLeastF32, constant, Module, normal, Parameter } from '../../nn/index.ts'
import { fullPrecision, type Tensor, tidy } from '../../torch/index.ts'
import type { SoftRouting } from '../routing/soft.ts'
import { bySequence, equalStarts, type Starts } from '../sequences.ts'
import { unit } from './cosine.ts'
import type { Router, TokenContext } from './router.ts'
import { count, type RouterRow } from './row.ts'

export interface SoftRouterOptions {
  hiddenSize: number
  numExperts: number
  /** Slots of each expert. Default 1. */
  slots?: number
}

/**
 * `z = unit(x) . (s unit(phi))`, dispatch a softmax of z over tokens, combine a softmax over slots (equations 1-3, with
 * the normalisation of section 2.3). Each sequence is mixed by itself.
 */
export class SoftRouter extends Module implements Router<SoftRouting> {
  readonly phi: Parameter // [E*P, D]
  readonly scale: Parameter // []
  readonly numExperts: number
  readonly slots: number

  constructor({ hiddenSize, numExperts, slots = 1 }: SoftRouterOptions) {
    super()
    if (!Number.isInteger(slots) || slots < 1) {
      throw new ConfigError(`must be a whole number above 0, got ${slots}`, { path: 'router.slots' })
    }
    this.phi = new Parameter({
      shape: [numExperts * slots, hiddenSize],
      role: 'router',
      init: normal(1 / Math.sqrt(hiddenSize)),
    })
    this.scale = new Parameter({ shape: [], role: 'router', init: constant(1) })
    this.numExperts = numExperts
    this.slots = slots
  }

  get isCausal(): boolean {
    return false
  }

  get active(): number {
    return this.numExperts
  }

  forward(
    xTD: Tensor,
    { mask = null, starts = equalStarts(1, xTD.size(0)) }: TokenContext = {},
  ): SoftRouting {
    return fullPrecision(xTD.device, () =>
      tidy((): SoftRouting => {
        const x = unit(atLeastF32(xTD))
        const logits = x.matmul(unit(atLeastF32(this.phi)).mul(this.scale).t()) // [T, E*P]
        const padding = mask?.logicalNot().unsqueeze(-1)
        const real = padding ? logits.maskedFill(padding, -1e30) : logits
        const shape = [xTD.size(0), this.numExperts, this.slots]
        const combine = logits.softmax(-1)
        return {
          kind: 'soft',
          dispatch: overTokens(real, starts).view(shape),
          combine: (padding ? combine.maskedFill(padding, 0) : combine).view(shape),
          mask,
          starts,
        }
      }),
    )
  }
}

/** A softmax over the tokens of each sequence: [T, E*P] -> [T, E*P]. */
function overTokens(logits: Tensor, starts: Starts): Tensor {
  return bySequence(starts, logits, ({ sequences, start, length }) => {
    const rows = logits.narrow(0, start, sequences * length)
    return rows
      .view([sequences, length, logits.size(-1)])
      .softmax(1)
      .view(rows.shape)
  })
}

const schema = z.strictObject({ kind: z.literal('soft'), slots: count.default(1) })

/** `soft` in recipes. */
export const soft: RouterRow<typeof schema> = {
  schema,
  router: SoftRouter,
  make: ({ slots }, sizes) => new SoftRouter({ ...sizes, slots }),
  tokensChoose: false,
}
