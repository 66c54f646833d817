// Expert parallelism: each rank has a block of consecutive experts, and tokens travel to theirs and back (GShard, arXiv:2006.16668
// section 3.2; Megatron's all-to-all dispatcher).
// Shapes: n ranks, E experts of which E / n are here, N rows grouped by expert, M rows that come.

import { ConfigError } from '../errors.ts'
import {
  type ExpertForm,
  type ExpertWeights,
  mixGrouped,
  parameterWeights,
  type StackedExperts,
  type TokenRouting,
} from '../moe/index.ts'
import { arange, noGrad, type ProcessGroup, type Tensor, tensor, tidy } from '../torch/index.ts'

/** Experts of all ranks of a group, of which those that are here are computed here. */
export class DividedExperts implements ExpertWeights {
  readonly #experts: StackedExperts
  readonly #group: ProcessGroup

  /** @param experts whose parameters hold this rank's block alone */
  constructor(experts: StackedExperts, group: ProcessGroup) {
    this.#experts = experts
    this.#group = group
  }

  mix(x: Tensor, routing: TokenRouting, form: ExpertForm): Tensor {
    return mixGrouped(x, routing, { grouped: (rows, counts) => this.grouped(rows, counts, form) })
  }

  /** Rows [N, D] are sorted by expert, and so by the rank that has it. */
  grouped(rows: Tensor, counts: readonly number[], form: ExpertForm): Tensor {
    const { sent, received, expertM } = this.#exchangeCounts(counts)
    const come = this.#group.allToAll(rows, received, sent) // [M, D]
    const gone = come.size(0) === 0 ? come : this.#here(come, expertM, form)
    return this.#group.allToAll(gone, sent, received) // [N, D]
  }

  expert(): Tensor {
    throw new ConfigError('experts of other ranks are not computed one by one', { path: 'mesh' })
  }

  /** Each row through the one expert that it came for: [M, D] -> [M, D]. */
  #here(rows: Tensor, expertM: Tensor, form: ExpertForm): Tensor {
    const { indices, weights } = noGrad(() =>
      tidy(() => {
        const indices = expertM.unsqueeze(-1) // [M, 1]
        return { indices, weights: indices.to(rows.dtype).mul(0).add(1) }
      }),
    )
    const routing: TokenRouting = {
      kind: 'token',
      indices,
      weights,
      logits: weights,
      probs: weights,
      mask: null,
    }
    return parameterWeights(this.#experts.stacks).mix(rows, routing, form)
  }

  /** How many rows go to each rank and come from it, and of which of the experts here each of those is. */
  #exchangeCounts(counts: readonly number[]): { sent: number[]; received: number[]; expertM: Tensor } {
    const { size } = this.#group
    const here = counts.length / size
    return noGrad(() =>
      tidy(() => {
        const each = new Array<number>(size).fill(here)
        const coming = this.#group.allToAll(tensor(counts, { dtype: 'i64' }), each, each) // [n E / n]
        const expertM = arange(here).long().repeat([size]).repeatInterleave(coming)
        return {
          sent: perRank(counts, size),
          received: perRank(Array.from(coming.toTypedArray<'i64'>(), Number), size),
          expertM,
        }
      }),
    )
  }
}

function perRank(counts: readonly number[], ranks: number): number[] {
  const here = counts.length / ranks
  return Array.from({ length: ranks }, (_, rank) =>
    counts.slice(rank * here, (rank + 1) * here).reduce((sum, count) => sum + count, 0),
  )
}
