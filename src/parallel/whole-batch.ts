// Capacity is of a batch, also where ranks have a part of it each: who is served is decided alike on all of them, from all choices.
// Shapes: T tokens here, n T in all, K chosen per token.

import type { Dispatch, TokenRouting } from '../moe/index.ts'
import type { ProcessGroup, Tensor } from '../torch/index.ts'

/** A dispatch that serves what it would of the whole batch; every rank has as many tokens. */
export function overWholeBatch(dispatch: Dispatch, batch: ProcessGroup): Dispatch {
  if (!dispatch.isOverBatch || batch.isAlone) return dispatch
  return {
    isOverBatch: true,
    mix(x, chosen, experts, context) {
      if (!context.training) return dispatch.mix(x, chosen, experts, context) // all read the same then
      let whole: TokenRouting | null = null
      const note = (rows: Tensor, served: TokenRouting): Tensor => {
        whole = served
        return rows
      }
      dispatch.mix(
        x,
        ofAll(chosen, batch),
        { ...withoutExperts, numExperts: experts.numExperts, mix: note },
        context,
      )
      const served = whole ? ofRank(whole, batch, x.size(0)) : chosen
      return { y: experts.mix(x, served), served }
    },
  }
}

const withoutExperts = {
  grouped: (rows: Tensor): Tensor => rows,
  expert: (_: number, rows: Tensor): Tensor => rows,
}

/** The choices of all ranks, one after another: [n T, ...]. */
function ofAll(routing: TokenRouting, batch: ProcessGroup): TokenRouting {
  return each(routing, tensor => batch.allGather(tensor))
}

function ofRank(routing: TokenRouting, { rank }: ProcessGroup, tokens: number): TokenRouting {
  return each(routing, tensor => tensor.narrow(0, rank * tokens, tokens))
}

function each(routing: TokenRouting, map: (tensor: Tensor) => Tensor): TokenRouting {
  const { indices, weights, logits, probs, mask } = routing
  return {
    ...routing,
    indices: map(indices),
    weights: map(weights),
    logits: map(logits),
    probs: map(probs),
    mask: mask && map(mask),
  }
}
