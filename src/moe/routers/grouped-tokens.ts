// Routing of whole tasks and whole sequences: all tokens of one share their experts.
// Shapes: T tokens, B sequences, S tokens of one sequence, N tasks, E experts.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { Embedding, Module, type Rows } from '../../nn/index.ts'
import { type Tensor, tidy } from '../../torch/index.ts'
import { type TokenRouting, withoutPadding } from '../routing/token.ts'
import { bySequence, equalStarts, sequenceOfToken } from '../sequences.ts'
import type { Router, TokenContext } from './router.ts'
import { count, isAlone, type RouterRow } from './row.ts'
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

  constructor({ numTasks, ...options }: TaskRouterOptions) {
    super()
    this.task_embedding = new Embedding(numTasks, options.hiddenSize, { role: 'router' })
    this.gate = new TopKRouter(options)
    this.numExperts = options.numExperts
  }

  get isCausal(): boolean {
    return true
  }

  get active(): number {
    return this.gate.active
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

  constructor(options: TopKRouterOptions) {
    super()
    this.gate = new TopKRouter(options)
    this.numExperts = options.numExperts
  }

  get isCausal(): boolean {
    return false
  }

  get active(): number {
    return this.gate.active
  }

  forward(
    xTD: Tensor,
    { mask = null, starts = equalStarts(1, xTD.size(0)) }: TokenContext = {},
  ): TokenRouting {
    return tidy(() => {
      const means = bySequence(starts, xTD, rows => meanOfRows(xTD, mask, rows)) // [B, D]
      return spread(this.gate.forward(means), sequenceOfToken(starts, xTD.device), mask)
    })
  }
}

/** The mean of each sequence's real tokens: [B, D]. */
function meanOfRows(xTD: Tensor, mask: Tensor | null, { sequences, start, length }: Rows): Tensor {
  const rows = (tensor: Tensor, columns: number): Tensor =>
    tensor.narrow(0, start, sequences * length).view([sequences, length, columns])
  const xBSD = rows(xTD, xTD.size(-1))
  const real = mask === null ? null : rows(mask, 1)
  const sums = (real === null ? xBSD : xBSD.maskedFill(real.logicalNot(), 0)).sum(1) // [B, D]
  return sums.div(real === null ? length : real.sum(1).clamp(1))
}

const taskSchema = z.strictObject({
  kind: z.literal('task'),
  k: count.default(2),
  /** Names of the tasks. Default in a recipe: the corpus's domains. */
  tasks: z.array(z.string().min(1)).min(1).optional(),
})

/** `task` in recipes. */
export const task: RouterRow<typeof taskSchema> = {
  schema: taskSchema,
  router: TaskRouter,
  make: ({ k, tasks = [] }, sizes) => new TaskRouter({ ...sizes, topK: k, numTasks: tasks.length }),
  hasConstantWeight: isAlone,
}

const sequenceSchema = z.strictObject({
  kind: z.literal('sequence'),
  k: count.default(2),
  normalize: z.boolean().default(true),
})

/** `sequence` in recipes. */
export const sequence: RouterRow<typeof sequenceSchema> = {
  schema: sequenceSchema,
  router: SequenceRouter,
  make: ({ k, normalize }, sizes) => new SequenceRouter({ ...sizes, topK: k, normalize }),
  hasConstantWeight: ({ k, normalize }) => k === 1 && normalize,
}
