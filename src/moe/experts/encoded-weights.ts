// Stacked experts whose matrices stay as their file encodes them: no gradient, and nothing decoded but what is used.
// Shapes: E experts, T tokens, K choices, D model, F expert width.

import { invariant } from '../../errors.ts'
import type { Parameter } from '../../nn/index.ts'
import { decodedRows, encodedExpertRows, encodedExperts, type Tensor } from '../../torch/index.ts'
import type { TokenRouting } from '../routing/token.ts'
import { mixGrouped } from './experts.ts'
import type { FusedForm } from './forms.ts'
import { throughGroups } from './groups.ts'
import type { ExpertWeights, Projections } from './weights.ts'

/** Matrices of experts, encoded, and biases of all experts in f32. */
export interface EncodedStacks extends Projections {
  /** How rows of up, u8 [places, 2F or F, bytes], are encoded. */
  upEncoding: string
  /** How rows of down, u8 [places, D, bytes], are encoded. */
  downEncoding: string
}

/**
 * What a layer gives, [T, D] -> [T, D].
 *
 * @param places where the matrices of each choice are, i64 [T, K], -1: nowhere. Default: by the number of the expert
 */
export function mixEncoded(
  xTD: Tensor,
  { indices, weights }: Pick<TokenRouting, 'indices' | 'weights'>,
  stacks: EncodedStacks,
  form: FusedForm,
  places: Tensor = indices,
): Tensor {
  return encodedExperts(xTD, indices, places, weights, ...kernelArguments(stacks, form))
}

/** Into `rowsTKD`, what each chosen expert that has a place gives of each token, not weighed. */
export function expertRowsInto(
  rowsTKD: Tensor,
  xTD: Tensor,
  { indices, places }: { indices: Tensor; places: Tensor },
  stacks: EncodedStacks,
  form: FusedForm,
): void {
  encodedExpertRows(xTD, indices, places, rowsTKD, ...kernelArguments(stacks, form))
}

const kernelArguments = (
  { up, upEncoding, upBias, down, downEncoding, downBias }: EncodedStacks,
  { activation, gated, limit }: FusedForm,
) => [up, upEncoding, down, downEncoding, activation, gated, limit ?? 0, upBias, downBias] as const

/** @param stacks up [E, 2F or F, D] and down [E, D, F], both encoded; biases are numbers */
export function encodedWeights(stacks: Projections<Parameter>): ExpertWeights {
  const sliceOf = (expert: number): Projections => decodedMatrices(stacks, expert)
  const encodings = { upEncoding: encodingOf(stacks.up), downEncoding: encodingOf(stacks.down) }
  const encoded: ExpertWeights = {
    mix: (xTD, routing, form) =>
      form.fused === null
        ? mixGrouped(xTD, routing, { grouped: (rows, counts) => encoded.grouped(rows, counts, form) })
        : mixEncoded(xTD, routing, { ...stacks, ...encodings }, form.fused),
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
  return decodedRows({ rows: stack.select(0, expert), encoding: encodingOf(stack) }, rows)
}
