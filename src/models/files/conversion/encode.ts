// Tensors as the bytes of a file's type, a few rows at a time.

import { FormatError } from '../../../errors.ts'
import type { GgmlTypeName } from '../../../formats/index.ts'
import { type DType, type Tensor, tidy } from '../../../torch/index.ts'
import { quantize } from '../dequantize.ts'
import { tensorBytes } from '../tensor-file.ts'
import { visitRows } from './gguf-tensors.ts'

const plainTypes: Partial<Record<GgmlTypeName, DType>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' }

/** Which rows of a file are encoded. */
export interface RowPlace {
  /** Name in the file. */
  tensor: string
  /** Which matrix of a stacked tensor; 0 elsewhere. */
  matrix: number
}

/** Rounds rows to blocks: finite f32 [n, columns], contiguous, to u8 [bytes]. */
export type BlockEncoder = (rows: Tensor, type: GgmlTypeName, place: RowPlace) => Tensor

/** Each block alone, all columns alike. */
export const roundToNearest: BlockEncoder = (rows, type) => quantize(rows.reshape([-1]), type)

/**
 * The bytes of a tensor of at most three dimensions, in order.
 *
 * @param name of the tensor in the file
 * @throws FormatError when a value is NaN or infinite, which blocks cannot hold
 */
export function encodeTensor(
  tensor: Tensor,
  type: GgmlTypeName,
  name: string,
  encoder: BlockEncoder = roundToNearest,
): Generator<Uint8Array> {
  return visitRows(tensor, (rows, matrix) => encodeRows(rows, type, { tensor: name, matrix }, encoder))
}

function encodeRows(rows: Tensor, type: GgmlTypeName, place: RowPlace, encoder: BlockEncoder): Uint8Array {
  const dtype = plainTypes[type]
  if (dtype) return tidy(() => tensorBytes(rows.to(dtype)))
  return tidy(() => {
    const values = rows.to('f32').contiguous()
    if (values.isfinite().all().item() !== 1)
      throw new FormatError(`has NaN or infinite values, which ${type} cannot hold`, { file: place.tensor })
    return encoder(values, type, place).toTypedArray<'u8'>()
  })
}
