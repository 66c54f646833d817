// The experts of layers as files have them, and how many fit where.

import type { ExpertRows } from '../../models/index.ts'
import { bytesOf, type ExpertKind, kindName, matrixKind } from './expert-kind.ts'

/** The matrices of a layer's experts, as files have them. */
export interface LayerRows {
  up: ExpertRows
  down: ExpertRows
}

/** The files that experts are in. */
export function filesOf(layers: readonly LayerRows[], experts: number): Set<string> {
  const numbers = Array.from({ length: experts }, (_, expert) => expert)
  const matrices = layers.flatMap(({ up, down }) => [up, down])
  return new Set(
    matrices.flatMap(rows => numbers.flatMap(expert => rows.rangesOf(expert).map(({ file }) => file))),
  )
}

/** Layers whose experts can take each other's places. */
export interface KindOfLayers {
  kind: ExpertKind
  layers: number
}

export const kindOf = ({ up, down }: LayerRows): ExpertKind => ({
  up: matrixKind(up),
  down: matrixKind(down),
})

/** @param layers what an expert of each is in memory */
export function kindsOf(layers: readonly ExpertKind[]): Map<string, KindOfLayers> {
  const kinds = new Map<string, KindOfLayers>()
  for (const kind of layers) {
    const name = kindName(kind)
    kinds.set(name, { kind, layers: (kinds.get(name)?.layers ?? 0) + 1 })
  }
  return kinds
}

/** One place for each kind, and of those for the other experts as many per layer as fit. */
export function capacitiesOf(kinds: readonly KindOfLayers[], bytes: number, experts: number): number[] {
  const sum = (of: (each: KindOfLayers) => number): number => kinds.reduce((all, each) => all + of(each), 0)
  const least = sum(({ kind }) => bytesOf(kind))
  const others = sum(({ kind, layers }) => (layers * experts - 1) * bytesOf(kind))
  const left = Math.min(others, Math.max(0, bytes - least))
  return kinds.map(({ layers }) => 1 + Math.floor((left * (layers * experts - 1)) / Math.max(1, others)))
}

/** Bytes of the least that a store can work with: a place for each kind. */
export function leastBytes(layers: readonly ExpertKind[]): number {
  return [...kindsOf(layers).values()].reduce((sum, { kind }) => sum + bytesOf(kind), 0)
}

/** Bytes of all experts in memory. */
export function allBytes(layers: readonly ExpertKind[], experts: number): number {
  return layers.reduce((sum, kind) => sum + experts * bytesOf(kind), 0)
}
