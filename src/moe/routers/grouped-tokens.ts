// Routing of whole tasks and whole sequences: all tokens of one share their experts.
// Shapes: T tokens, B sequences, S tokens of one sequence, N tasks, E experts.

import { ConfigError } from '../../errors.ts'
import { Embedding, Module } from '../../nn/index.ts'
import { arange, type Tensor, tidy } from '../../torch/index.ts'
import { type Router, type TokenContext, type TokenRouting, withoutPadding } from '../routing.ts'
import { TopKRouter, type TopKRouterOptions } from './top-k.ts'

/** A routing of rows, repeated for the tokens that belong to each: `rowT` [T] names a token's row. */
function spread(routing: TokenRouting, rowT: Tensor, mask: Tensor | null): TokenRouting {
  const of = (perRow: Tensor): Tensor => perRow.indexSelect(0, rowT)
  return withoutPadding({
    kind: 'token',
    indices: of(routing.indices),
    weights: of(routing.weights),
    logits: of(routing.logits),
    probs: of(routing.probs),
    mask,
  })
}

export interface TaskRouterOptions extends TopKRouterOptions {
  /** Tasks, languages or domains, numbered from 0. */
  numTasks: number
}

/**
 * Top-k over an embedding of the task instead of the token (TaskMoE, arXiv:2110.03742): a sub-model per task, which can
 * be served on its own.
 */
export class TaskRouter extends Module implements Router {
  readonly task_embedding: Embedding // [N, D]
  readonly gate: TopKRouter
  readonly numExperts: number
  readonly active: number = 1
  readonly isCausal = true

  constructor({ numTasks, ...options }: TaskRouterOptions) {
    super()
    this.task_embedding = new Embedding(numTasks, options.hiddenSize, { role: 'router' })
    this.gate = new TopKRouter(options)
    this.numExperts = options.numExperts
  }

  forward(_xTD: Tensor, { tasks, mask = null }: TokenContext = {}): TokenRouting {
    if (!tasks) throw new ConfigError('needs the task of each token: pass { tasks }', { path: 'router' })
    return tidy(() => spread(this.gate.forward(this.task_embedding.weight), tasks, mask))
  }
}

/**
 * Top-k over the mean of a sequence's tokens (sentence-level routing). A token is routed by what follows it: encoders
 * only.
 */
export class SequenceRouter extends Module implements Router {
  readonly gate: TopKRouter
  readonly numExperts: number
  readonly active: number = 1
  readonly isCausal = false

  constructor(options: TopKRouterOptions) {
    super()
    this.gate = new TopKRouter(options)
    this.numExperts = options.numExperts
  }

  forward(xTD: Tensor, { mask = null, sequenceLength = xTD.size(0) }: TokenContext = {}): TokenRouting {
    return tidy(() => {
      const [tokens, width] = xTD.shape as [number, number]
      const length = Math.max(1, sequenceLength)
      const xBSD = xTD.view([-1, length, width])
      const real = mask === null ? null : mask.view([-1, length, 1])
      const sums = (real === null ? xBSD : xBSD.maskedFill(real.logicalNot(), 0)).sum(1) // [B, D]
      const mean = sums.div(real === null ? length : real.sum(1).clamp(1))
      const rowT = arange(0, tokens, 1, { device: xTD.device }).floorDivide(length) // 0 S times, 1 S times, ...
      return spread(this.gate.forward(mean), rowT, mask)
    })
  }
}
