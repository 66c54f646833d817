// Expert capacity: a bound on the tokens an expert takes per batch; what exceeds it is dropped.
// Shapes: T tokens, E experts, K slots per token.

import { ConfigError } from '../../errors.ts'
import { arange, noGrad, type Tensor, tensor, tidy } from '../../torch/index.ts'
import type { TokenRouting } from '../routing.ts'
import { countPerExpert } from './sorted.ts'

export interface CapacityOptions {
  /** Slots per expert, as a multiple of the even share. */
  factor: number
  /**
   * Whether the even share is of tokens (`T / E`: Switch, Mesh, flaxformer) or of choices (`T K / E`: Megatron,
   * Tutel, DeepSpeed). Default `choices`.
   */
  share?: 'tokens' | 'choices'
  /** Least slots per expert. Default 4. */
  minimum?: number
}

/** `max(minimum, ceil(factor * T K / E))`, never more than T. */
export function expertCapacity(
  sizes: { tokens: number; numExperts: number; topK: number },
  { factor, share = 'choices', minimum = 4 }: CapacityOptions,
): number {
  if (!(factor > 0)) throw new ConfigError(`must be above 0, got ${factor}`, { path: 'dispatch.factor' })
  const choices = sizes.tokens * (share === 'choices' ? sizes.topK : 1)
  const even = choices / sizes.numExperts
  // Rounded first, so that a share like 1.1 * 10 does not become 12 by its last binary digit.
  const slots = Math.ceil(Number((factor * even).toPrecision(12)))
  return Math.min(sizes.tokens, Math.max(minimum, slots))
}

/**
 * Empties the slots beyond each expert's capacity. First choices queue before second choices, earlier tokens before
 * later ones (arXiv:2006.16668 algorithm 1, fairseq, Mesh-TensorFlow). The weights that stay are not rescaled; a token
 * that loses every slot passes through on the residual alone.
 */
export function dropBeyondCapacity(routing: TokenRouting, capacity: number): TokenRouting {
  const keptTK = noGrad(() => tidy(() => queuePositions(routing).lt(capacity)))
  const droppedTK = keptTK.logicalNot()
  return {
    ...routing,
    indices: routing.indices.maskedFill(droppedTK, -1),
    weights: routing.weights.maskedFill(droppedTK, 0),
  }
}

/** [T, K]: each slot's place in its expert's queue, counting from 0. */
function queuePositions(routing: TokenRouting): Tensor {
  const [tokens, slots] = routing.indices.shape as [number, number]
  const expertKT = routing.indices.t().reshape([-1]) // slot-major: all first choices, then all second ones
  const total = tokens * slots
  const order = expertKT.argsort(0) // stable: a queue keeps the slot-major order
  const counts = countPerExpert(routing)
  const empty = total - counts.reduce((sum, count) => sum + count, 0)
  const starts = runningStarts([empty, ...counts])
  const place = arange(0, total, 1, { device: order.device })
  const first = starts.to(order.device).indexSelect(0, expertKT.indexSelect(0, order).add(1))
  return place.indexCopy_(0, order, place.sub(first)).view([slots, tokens]).t()
}

function runningStarts(counts: readonly number[]): Tensor {
  let start = 0
  const starts = counts.map(count => {
    start += count
    return BigInt(start - count)
  })
  return tensor(starts)
}
