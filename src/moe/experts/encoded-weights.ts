// Stacked experts whose matrices stay as their file encodes them: no gradient, and nothing decoded but what is used.
// Shapes: E experts, T tokens, D model.

import { invariant } from '../../errors.ts'
import type { Parameter } from '../../nn/index.ts'
import { arange, encodedExperts, encodedRows, type Tensor } from '../../torch/index.ts'
import { mixGrouped } from './experts.ts'
import { throughGroups } from './groups.ts'
import type { ExpertWeights, Projections } from './weights.ts'

/** @param stacks up [E, 2F or F, D] and down [E, D, F], both encoded; biases are numbers */
export function encodedWeights({ up, down, upBias, downBias }: Projections<Parameter>): ExpertWeights {
  const sliceOf = (expert: number): Projections => decodedMatrices({ up, down, upBias, downBias }, expert)
  const encoded: ExpertWeights = {
    mix(xTD, routing, form) {
      if (form.fused === null || upBias || downBias)
        return mixGrouped(xTD, routing, { grouped: (rows, counts) => encoded.grouped(rows, counts, form) })
      const { indices, weights } = routing
      const { activation, gated } = form.fused
      const [upType, downType] = [encodingOf(up), encodingOf(down)]
      return encodedExperts(xTD, indices, weights, up, upType, down, downType, activation, gated)
    },
    grouped: (xND, counts, form) =>
      throughGroups(xND, counts, (expert, group) => form.apply(group, sliceOf(expert))),
    expert: (index, x, form) => form.apply(x, sliceOf(index)),
  }
  return encoded
}

/** One expert's matrices in f32. */
export function decodedMatrices(
  { up, down, upBias, downBias }: Projections<Parameter>,
  expert: number,
): Projections {
  return {
    up: decoded(up, expert),
    down: decoded(down, expert),
    upBias: upBias?.select(0, expert) ?? null,
    downBias: downBias?.select(0, expert) ?? null,
  }
}

function encodingOf({ encoding }: Parameter): string {
  invariant(encoding !== null, 'experts are encoded in part')
  return encoding
}

function decoded(stack: Parameter, expert: number): Tensor {
  const [, rows = 0] = stack.shape
  return encodedRows(stack.select(0, expert), encodingOf(stack), arange(0, rows))
}
