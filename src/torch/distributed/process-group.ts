// Ranks that act together. Each calls the same in the same order; whoever does not makes the others wait until the time is over.
// Shapes: n ranks, R rows.

import { callOperator } from '../runtime.ts'
import type { Tensor } from '../tensor.ts'

export interface ProcessGroupOptions {
  /** The same on every rank, and of no other group. */
  name: string
  /** This process's number in the group. */
  rank: number
  size: number
  /** How long anything may take, in milliseconds. */
  timeout: number
}

/** What is under way, and ends with finish(). */
export interface Message {
  finish(): void
}

/**
 * A group of libtorch's Gloo. A group of one needs no others: what it does is done.
 *
 * Backward follows the rule that the loss of a step is the sum of what ranks compute; `sumOver` alone is for what goes on to be the
 * same loss on each.
 */
export class ProcessGroup {
  readonly name: string
  readonly rank: number
  readonly size: number

  constructor({ name, rank, size, timeout }: ProcessGroupOptions) {
    this.name = name
    this.rank = rank
    this.size = size
    if (size > 1) callOperator('switchyard::make_group', name, rank, size, timeout)
  }

  get isAlone(): boolean {
    return this.size === 1
  }

  /** The sum over ranks, the same bits on each; the gradient of each summand is the sum's. */
  sumOver(x: Tensor): Tensor {
    return this.isAlone ? x : this.#tensor('sum_over', x)
  }

  /** x itself, of which each rank goes on to another part: gradients add up. */
  sharedOver(x: Tensor): Tensor {
    return this.isAlone ? x : this.#tensor('shared_over', x)
  }

  /** The sum over ranks, of which each goes on to a loss of its own. */
  statistic(x: Tensor): Tensor {
    return this.sumOver(this.sharedOver(x))
  }

  /**
   * Rows to the ranks that they are for: [R, ...] -> [sum of `outputs`, ...], in the order of the ranks that they come from.
   *
   * @param outputs how many rows come from each rank
   * @param inputs how many rows go to each rank
   */
  allToAll(x: Tensor, outputs: readonly number[], inputs: readonly number[]): Tensor {
    return this.isAlone ? x : this.#tensor('all_to_all', x, outputs, inputs)
  }

  /** As many rows of each rank, one after another: [R, ...] -> [n R, ...]. */
  allGather(x: Tensor): Tensor {
    return this.isAlone ? x : this.#tensor('all_gather', x)
  }

  /** The sum over ranks, of which each keeps its part: [n R, ...] -> [R, ...]. */
  reduceScatter(x: Tensor): Tensor {
    return this.isAlone ? x : this.#tensor('reduce_scatter', x)
  }

  /** Writes what a rank has into what all others have. */
  broadcast(x: Tensor, root: number): void {
    if (!this.isAlone) callOperator('switchyard::broadcast_from', x, root, this.name)
  }

  /** Adds tensors of one type up over ranks as one message; finish() writes the sums into them. */
  startSum(xs: readonly Tensor[]): Message {
    return this.isAlone || xs.length === 0 ? done : this.#message('start_sum', xs)
  }

  /** To another rank of the group, which receives under the same tag. */
  startSend(x: Tensor, peer: number, tag: number): Message {
    return this.#message('start_send', x, peer, tag)
  }

  /** Into x, which is complete after finish(). */
  startReceive(x: Tensor, peer: number, tag: number): Message {
    return this.#message('start_receive', x, peer, tag)
  }

  #tensor(operator: string, ...args: unknown[]): Tensor {
    return callOperator(`switchyard::${operator}`, ...args, this.name) as Tensor
  }

  #message(operator: string, ...args: unknown[]): Message {
    const ticket = callOperator(`switchyard::${operator}`, ...args, this.name) as number
    return { finish: () => void callOperator('switchyard::finish_message', ticket) }
  }
}

const done: Message = { finish: () => {} }
