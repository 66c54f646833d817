// Where the tokens of a batch are: with this process, or with many, whose sums then make the whole. Losses that are no mean over tokens
// - a share of one by a mean of another - are of the whole batch only when both are.

import type { Tensor } from '../../torch/index.ts'

/** Adds up over all who have a part of the batch. */
type Sum = (part: Tensor) => Tensor

let others: Sum | null = null

function within<T>(sum: Sum | null, body: () => T): T {
  const before = others
  others = sum
  try {
    return body()
  } finally {
    others = before
  }
}

export const overBatch = {
  /** Whether all of the batch is here. */
  get isHere(): boolean {
    return others === null
  },

  /** A sum over the tokens that are here, made one over the whole batch. Default: it is one. */
  sum: (part: Tensor): Tensor => (others === null ? part : others(part)),

  /** Runs a function while parts of the batch are elsewhere, over whom `sum` adds up, gradients included. */
  among: <T>(sum: Sum, body: () => T): T => within(sum, body),

  /** Runs a function on what is whole here, as a sequence is. */
  here: <T>(body: () => T): T => within(null, body),
}
