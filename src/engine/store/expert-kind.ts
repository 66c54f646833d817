// What one expert takes in memory: its matrices, as kernels read them.

import type { ExpertRows } from '../../models/index.ts'
import { panelRows, panelsOf } from '../../torch/index.ts'

/** One of an expert's matrices. */
export interface MatrixKind {
  /** Of its rows in memory: see EncodedRows. */
  encoding: string
  /** u8 [rows, bytes of a row] */
  shape: readonly [rows: number, rowBytes: number]
}

/** Experts of one kind can take each other's places. */
export interface ExpertKind {
  up: MatrixKind
  down: MatrixKind
}

/** How a matrix of a file is kept. */
export function matrixKind({ encoding, shape: [rows], bytes }: ExpertRows): MatrixKind {
  const kept = panelsOf(encoding)
  return { encoding: kept, shape: [panelRows(rows, kept), bytes / rows] }
}

/** Bytes of an expert in memory. */
export function bytesOf({ up, down }: ExpertKind): number {
  return [up, down].reduce((sum, { shape: [rows, rowBytes] }) => sum + rows * rowBytes, 0)
}

/** The same for experts that can take each other's places. */
export function kindName({ up, down }: ExpertKind): string {
  return [up, down].map(({ encoding, shape }) => `${encoding} ${shape.join('x')}`).join(', ')
}
