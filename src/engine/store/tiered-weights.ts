// Experts whose matrices are brought when they are chosen, as the weights of a layer.
// Shapes: T tokens, K choices, D model, N rows grouped by expert.

import { invariant } from '../../errors.ts'
import type { EncodedStacks, ExpertWeights, FusedForm, Projections, TokenRouting } from '../../moe/index.ts'
import { expertRowsInto, mixEncoded, mixGrouped, throughGroups } from '../../moe/index.ts'
import { arange, empty, encodedRows, sumChoices, type Tensor, tensor, zerosLike } from '../../torch/index.ts'
import type { MatrixKind } from './expert-kind.ts'
import type { ExpertStore } from './expert-store.ts'
import type { Wave } from './layer-waves.ts'

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
  const matricesOf = ({ slots, places }: Wave, expert: number): Projections => {
    const slot = places.get(expert) as number
    return {
      up: decoded(slots.up.select(0, slot), slots.kind.up, up.size(1)),
      down: decoded(slots.down.select(0, slot), slots.kind.down, down.size(1)),
      upBias: upBias?.select(0, expert) ?? null,
      downBias: downBias?.select(0, expert) ?? null,
    }
  }
  /** The outputs of experts by number, of each as soon as it is there. */
  const outputsOf = (
    experts: readonly number[],
    output: (expert: number, wave: Wave) => Tensor,
  ): Map<number, Tensor> => {
    const outputs = new Map<number, Tensor>()
    for (const wave of store.bring(layer, experts))
      for (const expert of wave.places.keys()) outputs.set(expert, output(expert, wave))
    return outputs
  }
  const tiered: ExpertWeights = {
    mix(xTD, routing, form) {
      if (form.fused === null)
        return mixGrouped(xTD, routing, { grouped: (rows, counts) => tiered.grouped(rows, counts, form) })
      return mixWaves(store, layer, xTD, routing, { form: form.fused, upBias, downBias })
    },
    grouped(xND, counts, form) {
      const groups = xND.splitWithSizes(counts)
      const needed = [...counts.keys()].filter(expert => counts[expert] !== 0)
      const outputs = outputsOf(needed, (expert, wave) =>
        form.apply(groups[expert] as Tensor, matricesOf(wave, expert)),
      )
      return throughGroups(xND, counts, expert => outputs.get(expert) as Tensor)
    },
    expert: (index, x, form) =>
      outputsOf([index], (expert, wave) => form.apply(x, matricesOf(wave, expert))).get(index) as Tensor,
  }
  return tiered
}

function mixWaves(
  store: ExpertStore,
  layer: number,
  xTD: Tensor,
  { indices, weights }: TokenRouting,
  { form, upBias, downBias }: Pick<Projections, 'upBias' | 'downBias'> & { form: FusedForm },
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
