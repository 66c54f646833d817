// Who is dropped when more tokens choose an expert than it takes.
// Shapes: T tokens, E experts, K slots per token.

import { ConfigError } from '../../errors.ts'
import { arange, noGrad, randperm, type Tensor, tensor, tidy } from '../../torch/index.ts'
import { countIndices } from '../routing/counts.ts'
import { emptied } from '../routing/slots.ts'
import type { TokenRouting } from '../routing/token.ts'
import { countSequences, type Starts, sequenceOfToken } from '../sequences.ts'
import { rerouteOverflow } from './overflow.ts'

/** In which order slots queue at their experts. */
export type DropPolicy =
  /** First choices before second ones, earlier tokens before later (GShard algorithm 1, fairseq, Mesh). */
  | 'position'
  /** An expert keeps its largest weights, whichever choice they are (Megatron `probs`). Looks at later tokens. */
  | 'probability'
  /** As `position`, but tokens that are surest of their first choice come first (BPR, arXiv:2106.05974). Looks ahead. */
  | 'prioritized'
  /** As `position`, but tokens come in random order (DeepSpeed `use_rts`). Looks at later tokens. */
  | 'random'

export interface DropOptions {
  /**
   * Default `position`. With one choice per token no later token pushes out an earlier one; with several, a later
   * token's first choice goes before an earlier one's second.
   */
  policy?: DropPolicy
  /** Whether the weights that stay are rescaled to sum to one (fairseq, DeepSpeed). Default false. */
  renormalize?: boolean
  /** Choices that a token which lost a slot may try in its place (Mesh "no token left behind": 4). Default 0. */
  retries?: number
  /** Sequences whose tokens compete with each other only, by where they begin. Default: all tokens compete. */
  starts?: Starts
}

/**
 * Empties the slots beyond each expert's capacity. A token that loses every slot passes through on the residual alone.
 */
export function dropBeyondCapacity(
  routing: TokenRouting,
  capacity: number,
  { policy = 'position', renormalize = false, retries = 0, starts }: DropOptions = {},
): TokenRouting {
  if (retries > 0 && starts !== undefined)
    throw new ConfigError('cannot be tried within sequences', { path: 'dispatch.retries' })
  const keptTK = noGrad(() =>
    tidy(() => {
      const [queues, count] = queueOfSlot(routing, starts)
      return queuePositions(queues, count, queueOrder(routing, policy)).lt(capacity)
    }),
  )
  const kept = emptied(routing, keptTK.logicalNot())
  const filled = retries > 0 ? rerouteOverflow(routing, kept, capacity, retries) : kept
  return renormalize ? { ...filled, weights: shareOfSum(filled.weights) } : filled
}

/** [T, K], each row divided by its sum; rows of zeros stay. */
function shareOfSum(weightsTK: Tensor): Tensor {
  return weightsTK.div(weightsTK.sum(-1, true).clamp(1e-9))
}

/** i64 [T*K]: the slots, `t K + k`, in the order in which they queue. */
function queueOrder({ indices, weights, probs }: TokenRouting, policy: DropPolicy): Tensor {
  const [tokens, slots] = indices.shape as [number, number]
  if (policy === 'probability') return stableDescending(weights.detach().reshape([-1]))
  const tokenT = tokenOrder(probs, policy, tokens)
  const choiceK1 = arange(0, slots, 1, { device: indices.device }).unsqueeze(1)
  return tokenT.mul(slots).add(choiceK1).reshape([-1]) // all first choices, then all second ones
}

function tokenOrder(probs: Tensor, policy: 'position' | 'prioritized' | 'random', tokens: number): Tensor {
  const { device } = probs
  if (policy === 'random') return randperm(tokens, { device })
  return policy === 'position'
    ? arange(0, tokens, 1, { device })
    : stableDescending(probs.detach().amax([-1]))
}

const stableDescending = (values: Tensor): Tensor => values.argsort(-1, true)

/** i64 [T, K]: the queue that each slot stands in, -1 for none; and how many queues there are. */
function queueOfSlot({ indices, probs }: TokenRouting, starts?: Starts): [Tensor, number] {
  const experts = probs.size(-1)
  const sequences = starts ? countSequences(starts) : 1
  if (starts === undefined || sequences <= 1) return [indices, experts]
  const sequenceT1 = sequenceOfToken(starts, indices.device).unsqueeze(1)
  const queues = indices.add(sequenceT1.mul(experts)).maskedFill(indices.lt(0), -1)
  return [queues, sequences * experts]
}

/** `[T, K]`: each slot's place in its queue, counting from 0. */
function queuePositions(indices: Tensor, queues: number, queueN: Tensor): Tensor {
  const expertN = indices.reshape([-1]).indexSelect(0, queueN)
  const order = expertN.argsort(0) // stable: one expert's slots stay in the order of the queue
  const counts = countIndices(indices, queues)
  const empty = indices.numel - counts.reduce((sum, count) => sum + count, 0)
  const starts = runningStarts([empty, ...counts]).to(indices.device)
  const sortedExpert = expertN.indexSelect(0, order).add(1)
  const place = arange(0, indices.numel, 1, { device: indices.device }).sub(
    starts.indexSelect(0, sortedExpert),
  )
  return place.indexCopy_(0, queueN.indexSelect(0, order), place.clone()).view(indices.shape)
}

function runningStarts(counts: readonly number[]): Tensor {
  let start = 0
  const starts = counts.map(count => {
    start += count
    return BigInt(start - count)
  })
  return tensor(starts)
}
