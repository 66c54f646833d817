// Experts whose matrices come one after the other, each of which is computed as if it were alone.
// Shapes: N rows grouped by expert, D model.

import { type ExpertWeights, mixGrouped, type Projections, throughGroups } from '../../moe/index.ts'
import type { Tensor } from '../../torch/index.ts'

/** Brings experts by number, in any order; the matrices of one are there until the next is asked for. */
export type BringOneByOne = (
  experts: readonly number[],
) => Iterable<readonly [expert: number, matrices: Projections]>

/** The weights of a layer. What they give does not depend, to the bit, on the order in which experts come. */
export function oneByOne(bring: BringOneByOne): ExpertWeights {
  const outputsOf = (
    experts: readonly number[],
    output: (expert: number, matrices: Projections) => Tensor,
  ): Map<number, Tensor> => {
    const outputs = new Map<number, Tensor>()
    for (const [expert, matrices] of bring(experts)) outputs.set(expert, output(expert, matrices))
    return outputs
  }
  const weights: ExpertWeights = {
    mix: (xTD, routing, form) =>
      mixGrouped(xTD, routing, { grouped: (rows, counts) => weights.grouped(rows, counts, form) }),
    grouped(xND, counts, form) {
      const groups = xND.splitWithSizes(counts)
      const needed = [...counts.keys()].filter(expert => counts[expert] !== 0)
      const outputs = outputsOf(needed, (expert, matrices) => form.apply(groups[expert] as Tensor, matrices))
      return throughGroups(xND, counts, expert => outputs.get(expert) as Tensor)
    },
    expert: (index, x, form) =>
      outputsOf([index], (_, matrices) => form.apply(x, matrices)).get(index) as Tensor,
  }
  return weights
}
