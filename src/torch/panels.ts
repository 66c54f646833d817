// Rows of quantized blocks interleaved by 16, which is how products with them are quickest.

import { empty } from './create.ts'
import { encodedPanels } from './generated/functions.ts'
import { callOperator } from './runtime.ts'
import type { Tensor } from './tensor.ts'

/** Rows of a matrix and how they are encoded. */
export interface EncodedRows {
  /** u8 [..., rows, bytes of a row]; in panels the number of rows is rounded up to 16 */
  rows: Tensor
  /** A GGML type, `BF16` or `F16`; a GGML type with `x16`: in panels */
  encoding: string
}

/** Rows of a panel. */
const panel = 16
const suffix = `x${panel}`

let panelTypes: ReadonlySet<string> | null = null

/** The encoding of a type's rows in panels; itself where it has none. */
export function panelsOf(encoding: string): string {
  panelTypes ??= new Set(callOperator('switchyard::panel_types') as string[])
  return panelTypes.has(encoding) ? encoding + suffix : encoding
}

/** The type of a file that an encoding in memory is of. */
export const rowsOfPanels = (encoding: string): string =>
  encoding.endsWith(suffix) ? encoding.slice(0, -suffix.length) : encoding

/** Rows in memory of a matrix of so many: in panels a multiple of 16. */
export function panelRows(rows: number, encoding: string): number {
  return encoding.endsWith(suffix) ? panel * Math.ceil(rows / panel) : rows
}

/** The same rows in panels where their type has them; else as they are. */
export function inPanels({ rows, encoding }: EncodedRows): EncodedRows {
  const kept = panelsOf(encoding)
  if (kept === encoding) return { rows, encoding }
  const [outer, count = 0, bytes = 0] = [rows.shape.slice(0, -2), ...rows.shape.slice(-2)]
  const panels = empty([...outer, panelRows(count, kept), bytes], { dtype: 'u8' })
  encodedPanels(rows, encoding, panels)
  return { rows: panels, encoding: kept }
}

/**
 * The instructions that products with panels use: the best of simdLevels(), or what the environment variable SWITCHYARD_SIMD
 * says. Results are the same to the bit.
 *
 * @throws TorchError when SWITCHYARD_SIMD says what this processor has not
 */
export function simdChoice(): string {
  return callOperator('switchyard::simd_choice') as string
}

/** The sets of instructions that this processor has, of `portable`, `avx2`, `avxvnni`, `avx512vnni`, `amx`; the best last. */
export function simdLevels(): string[] {
  return callOperator('switchyard::simd_levels') as string[]
}

/** @throws TorchError for what this processor has not, with what it has */
export function chooseSimd(level: string): void {
  callOperator('switchyard::choose_simd', level)
}
