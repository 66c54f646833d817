// What one expert takes on a device, where products read plain numbers.

import type { ExpertRows, LoadOptions } from '../../models/index.ts'
import { itemSize } from '../../torch/index.ts'
import type { ExpertKind, MatrixKind } from './expert-kind.ts'
import type { LayerRows } from './layer-rows.ts'

/** What a device can compute in. */
export type DeviceDType = NonNullable<LoadOptions['dtype']>

/** How rows of plain numbers are named among those that are encoded. */
export const encodingOf = (dtype: DeviceDType): string => dtype.toUpperCase()

/** Experts of a layer as a device has them. */
export function deviceKind({ up, down }: LayerRows, dtype: DeviceDType): ExpertKind {
  return { up: plainMatrix(up, dtype), down: plainMatrix(down, dtype) }
}

const plainMatrix = ({ shape: [rows, columns] }: ExpertRows, dtype: DeviceDType): MatrixKind => ({
  encoding: encodingOf(dtype),
  shape: [rows, columns * itemSize[dtype]],
})
