// Where the numbers of stacked experts are, and what is computed with them there.
// Shapes: E experts, T tokens, D model, N rows grouped by expert.

import { numbersOf, type Parameter } from '../../nn/index.ts'
import { isRecorded, kernelFor, recompute, type Tensor } from '../../torch/index.ts'
import type { TokenRouting } from '../routing/token.ts'
import { decodedMatrices, encodedWeights } from './encoded-weights.ts'
import { mixGrouped } from './experts.ts'
import type { ExpertForm } from './forms.ts'
import { sliceOf, throughGroups } from './groups.ts'

/** The matrices of one expert; or of all, with experts as the first dimension. */
export interface Projections<T extends Tensor = Tensor> {
  up: T
  down: T
  upBias: T | null
  downBias: T | null
}

/** Another place for weights, as several tiers of memory, is another of these. */
export interface ExpertWeights {
  /** See Experts.mix() */
  mix(x: Tensor, routing: TokenRouting, form: ExpertForm): Tensor
  /** See Experts.grouped() */
  grouped(x: Tensor, counts: readonly number[], form: ExpertForm): Tensor
  /** See Experts.expert() */
  expert(index: number, x: Tensor, form: ExpertForm): Tensor
}

/** The matrices of all experts as parameters, dense or encoded. */
export function parameterWeights(stacks: Projections<Parameter>): ExpertWeights {
  return stacks.up.encoding === null ? denseWeights(stacks) : decodedForGradients(stacks)
}

/**
 * Encoded matrices, which have no gradient; where tokens need one they are decoded, in forward and again in backward, so that they
 * are never kept (QLoRA, arXiv:2305.14314 section 3).
 */
function decodedForGradients(stacks: Projections<Parameter>): ExpertWeights {
  const encoded = encodedWeights(stacks)
  return {
    ...encoded,
    mix: (xTD, routing, form) =>
      isRecorded(xTD, routing.weights)
        ? recompute(
            (x: Tensor, chosen: TokenRouting) => denseWeights(decodedStacks(stacks)).mix(x, chosen, form),
            [xTD, routing],
          )
        : encoded.mix(xTD, routing, form),
  }
}

/** All matrices as numbers. */
export function decodedStacks({ up, down, ...biases }: Projections<Parameter>): Projections {
  return { up: numbersOf(up), down: numbersOf(down), ...biases }
}

/** The matrices of one expert as numbers, decoded where they are encoded. */
export function matricesOf(stacks: Projections<Parameter>, expert: number): Projections {
  return stacks.up.encoding === null ? sliceOfEach(stacks, expert) : decodedMatrices(stacks, expert)
}

/** Tensors of all experts, where the tokens are. */
export function denseWeights(stacks: Projections): ExpertWeights {
  const dense: ExpertWeights = {
    mix: (xTD, routing, form) =>
      fusedMix(xTD, routing, stacks, form) ??
      mixGrouped(xTD, routing, { grouped: (rows, counts) => dense.grouped(rows, counts, form) }),
    grouped(xND, counts, form) {
      const slices = unbound(stacks)
      return throughGroups(xND, counts, (e, group) => form.apply(group, slices(e)))
    },
    expert: (index, x, form) => form.apply(x, sliceOfEach(stacks, index)),
  }
  return dense
}

/** What the kernel gives; null where there is none for these. */
function fusedMix(
  xTD: Tensor,
  { indices, weights }: TokenRouting,
  { up, down, upBias, downBias }: Projections,
  { fused }: ExpertForm,
): Tensor | null {
  if (fused === null || fused.activation === 'clamped' || upBias || downBias) return null
  return (
    kernelFor('experts', xTD, up, down)?.(xTD, indices, weights, up, down, fused.activation, fused.gated) ??
    null
  )
}

/** The slices of experts: one unbinding for all, so that backward stacks their gradients once. */
function unbound(stacks: Projections): (expert: number) => Projections {
  const [up, down] = [stacks.up.unbind(), stacks.down.unbind()]
  const [upBias, downBias] = [stacks.upBias?.unbind(), stacks.downBias?.unbind()]
  return e => ({
    up: sliceOf(up, e),
    down: sliceOf(down, e),
    upBias: upBias ? sliceOf(upBias, e) : null,
    downBias: downBias ? sliceOf(downBias, e) : null,
  })
}

const sliceOfEach = ({ up, down, upBias, downBias }: Projections, expert: number): Projections => ({
  up: up.select(0, expert),
  down: down.select(0, expert),
  upBias: upBias?.select(0, expert) ?? null,
  downBias: downBias?.select(0, expert) ?? null,
})
