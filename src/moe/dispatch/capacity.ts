// Expert capacity: how many tokens an expert takes per batch. What exceeds it is dropped (drop.ts).

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import type { Dispatch } from '../contracts.ts'
import { type DispatchRow, servingOnly } from './dispatch.ts'
import { type DropOptions, dropBeyondCapacity } from './drop.ts'

export interface CapacityOptions extends Omit<DropOptions, 'starts'> {
  /** Slots per expert, as a multiple of the even share. */
  factor: number
  /** The factor in evaluation (Switch, ST-MoE: 2). Default: `factor`. */
  evalFactor?: number | undefined
  /**
   * In evaluation, slots per expert as a share of all tokens instead (fairseq's `moe_eval_capacity_token_fraction`,
   * 0.25). Default: the factor counts.
   */
  evalTokenFraction?: number | undefined
  /**
   * Whether the even share is of tokens (`T / E`: Switch, Mesh, flaxformer) or of choices (`T K / E`: Megatron,
   * Tutel, DeepSpeed). Default `choices`.
   */
  share?: 'tokens' | 'choices'
  /** Least slots per expert. Default 4. */
  minimum?: number
}

/** Experts take a bounded share of the tokens. */
export function capacityDispatch(options: CapacityOptions): Dispatch {
  return servingOnly(
    (chosen, { training }) => {
      const [tokens, numExperts] = chosen.probs.shape as [number, number]
      const sizes = { tokens, numExperts, topK: chosen.indices.size(1) }
      return dropBeyondCapacity(chosen, expertCapacity(sizes, options, training), options)
    },
    { isOverBatch: true },
  )
}

const schema = z.strictObject({
  kind: z.literal('capacity'),
  factor: z.number().positive(),
  evalFactor: z.number().positive().optional(),
  evalTokenFraction: z.number().positive().optional(),
  policy: z.enum(['position', 'probability', 'prioritized', 'random']).default('position'),
  renormalize: z.boolean().default(false),
  retries: z.int().nonnegative().default(0),
  share: z.enum(['tokens', 'choices']).default('choices'),
  minimum: z.int().positive().default(4),
})

/** `capacity` in recipes: CapacityOptions, checked. */
export const capacityRow: DispatchRow<typeof schema> = { schema, make: capacityDispatch }

/** `max(minimum, ceil(factor * T K / E))`, never more than T. */
export function expertCapacity(
  sizes: { tokens: number; numExperts: number; topK: number },
  { factor, evalFactor = factor, evalTokenFraction, share = 'choices', minimum = 4 }: CapacityOptions,
  training = true,
): number {
  const chosen = training ? factor : evalFactor
  requireAboveZero(chosen, training ? 'dispatch.factor' : 'dispatch.evalFactor')
  const choices = sizes.tokens * (share === 'choices' ? sizes.topK : 1)
  let slots = ceilOf((chosen * choices) / sizes.numExperts)
  if (!training && evalTokenFraction !== undefined) {
    requireAboveZero(evalTokenFraction, 'dispatch.evalTokenFraction')
    slots = ceilOf(evalTokenFraction * sizes.tokens)
  }
  return Math.min(sizes.tokens, Math.max(minimum, slots))
}

/** Rounded first, so that a share like 1.1 * 10 does not become 12 by its last binary digit. */
const ceilOf = (slots: number): number => Math.ceil(Number(slots.toPrecision(12)))

function requireAboveZero(value: number, path: string): void {
  if (!(value > 0)) throw new ConfigError(`must be above 0, got ${value}`, { path })
}
