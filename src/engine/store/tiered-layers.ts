// The layers of a model whose experts are still in its files.

import { ConfigError } from '../../errors.ts'
import type { ExpertRows, ModelSource } from '../../models/index.ts'
import { MoeLayer, StackedExperts } from '../../moe/index.ts'
import type { Module, Parameter } from '../../nn/index.ts'
import type { LayerRows } from './layer-rows.ts'

export function refuseWithoutExperts(source: ModelSource): never {
  throw new ConfigError('is no decoder with experts that can be read one by one: leave the budget out', {
    path: source.path,
  })
}

export interface TieredLayer {
  layer: MoeLayer
  experts: StackedExperts
  rows: LayerRows
}

/** The layers whose experts are still in files, in order. */
export function tieredLayers(model: Module, rows: ReadonlyMap<string, ExpertRows>): TieredLayer[] {
  const paths = new Map([...model.namedParameters()].map(([path, parameter]) => [parameter, path]))
  const rowsOf = (parameter: Parameter): ExpertRows | undefined => rows.get(paths.get(parameter) ?? '')
  return [...model.namedModules()].flatMap(([, layer]) => {
    if (!(layer instanceof MoeLayer) || !(layer.experts instanceof StackedExperts)) return []
    const { experts } = layer
    const [up, down] = [rowsOf(experts.stacks.up), rowsOf(experts.stacks.down)]
    return up && down ? [{ layer, experts, rows: { up, down } }] : []
  })
}
