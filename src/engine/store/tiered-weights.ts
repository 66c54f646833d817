// Experts whose matrices are brought when they are chosen, as the weights of a layer.
// Shapes: T tokens, K choices, D model, N rows grouped by expert.

import { invariant } from '../../errors.ts'
import type { EncodedStacks, ExpertWeights, FusedForm, Projections, TokenRouting } from '../../moe/index.ts'
import { expertRowsInto, mixEncoded } from '../../moe/index.ts'
import { arange, empty, encodedRows, sumChoices, type Tensor, tensor, zerosLike } from '../../torch/index.ts'
import type { DeviceTier } from './device-tier.ts'
import type { MatrixKind } from './expert-kind.ts'
import type { ExpertStore } from './expert-store.ts'
import { type BringOneByOne, oneByOne } from './one-by-one.ts'

/**
 * The experts of one MoE layer. What they give does not depend, to the bit, on which of them were in memory.
 *
 * @param layer number among the MoE layers
 * @param biases the parameters that are in memory
 */
export function tieredWeights(
  store: ExpertStore,
  layer: number,
  { upBias, downBias, up, down }: Projections,
): ExpertWeights {
  function* bring(experts: readonly number[]): ReturnType<BringOneByOne> {
    for (const { slots, places } of store.bring(layer, experts))
      for (const [expert, slot] of places)
        yield [
          expert,
          {
            up: decoded(slots.up.select(0, slot), slots.kind.up, up.size(1)),
            down: decoded(slots.down.select(0, slot), slots.kind.down, down.size(1)),
            ...biasesOf(expert, { upBias, downBias }),
          },
        ]
  }
  const single = oneByOne(bring)
  return {
    ...single,
    mix: (xTD, routing, form) =>
      form.fused === null
        ? single.mix(xTD, routing, form)
        : mixWaves(store, layer, xTD, routing, { form: form.fused, upBias, downBias }),
  }
}

/** The same on a device that computes: each expert by itself, of whatever form, from where it is there. */
export function deviceWeights(device: DeviceTier, layer: number, biases: Biases): ExpertWeights {
  return oneByOne(function* (experts) {
    for (const [expert, matrices] of device.bring(layer, experts))
      yield [expert, { ...matrices, ...biasesOf(expert, biases) }]
  })
}

type Biases = Pick<Projections, 'upBias' | 'downBias'>

const biasesOf = (expert: number, { upBias, downBias }: Biases): Biases => ({
  upBias: upBias?.select(0, expert) ?? null,
  downBias: downBias?.select(0, expert) ?? null,
})

function mixWaves(
  store: ExpertStore,
  layer: number,
  xTD: Tensor,
  { indices, weights }: TokenRouting,
  { form, upBias, downBias }: Biases & { form: FusedForm },
): Tensor {
  const choices = indices.to('i32').toTypedArray<'i32'>() // [T * K]
  const needed = [...new Set(choices)].filter(expert => expert >= 0)
  let rows: Tensor | null = null // [T, K, D]
  let served = 0
  for (const wave of store.bring(layer, needed)) {
    const { slots, places: placeOf } = wave
    const { up, down, kind } = slots
    const stacks: EncodedStacks = {
      ...{ up, upEncoding: kind.up.encoding, upBias },
      ...{ down, downEncoding: kind.down.encoding, downBias },
    }
    const places = tensor(Int32Array.from(choices, expert => placeOf.get(expert) ?? -1))
      .long()
      .view(indices.shape)
    if (placeOf.size === needed.length) return mixEncoded(xTD, { indices, weights }, stacks, form, places)
    rows ??= empty([...indices.shape, xTD.size(1)])
    expertRowsInto(rows, xTD, { indices, places }, stacks, form)
    served += placeOf.size
  }
  invariant(served === needed.length, `${needed.length} experts are needed, ${served} came`)
  return rows === null ? zerosLike(xTD) : sumChoices(rows, indices, weights)
}

/** One expert's matrix in f32: [rows, columns]. */
const decoded = (stored: Tensor, { encoding }: MatrixKind, rows: number): Tensor =>
  encodedRows(stored, encoding, arange(0, rows))
