// Tensors as the bytes of a file's type, a few rows at a time.

import { FormatError } from '../../../errors.ts'
import type { GgmlTypeName } from '../../../formats/index.ts'
import { type DType, type Tensor, tidy } from '../../../torch/index.ts'
import { quantize } from '../dequantize.ts'
import { tensorBytes } from '../tensor-file.ts'

const plainTypes: Partial<Record<GgmlTypeName, DType>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' }

/** Values that are encoded at once: what is in memory beside the tensor stays small. */
const chunkValues = 1 << 22

/**
 * The bytes of a tensor of at most three dimensions, in order. Each piece is made in a scope of its own: what views the
 * tensor would keep its memory.
 *
 * @param name of the tensor, for errors
 * @throws FormatError when a value is NaN or infinite, which blocks cannot hold
 */
export function* encodeTensor(tensor: Tensor, type: GgmlTypeName, name: string): Generator<Uint8Array> {
  const [columns = 1, rows = 1, matrices = 1] = [...tensor.shape].reverse()
  const rowsAtOnce = Math.max(1, Math.floor(chunkValues / Math.max(1, columns)))
  for (let index = 0; index < matrices; index++) {
    for (let row = 0; row < rows; row += rowsAtOnce) {
      yield tidy(() => {
        const matrix = tensor.ndim === 3 ? tensor.select(0, index) : tensor.reshape([rows, columns])
        return encodeRows(matrix.narrow(0, row, Math.min(rowsAtOnce, rows - row)), type, name)
      })
    }
  }
}

function encodeRows(rows: Tensor, type: GgmlTypeName, name: string): Uint8Array {
  const dtype = plainTypes[type]
  if (dtype) return tidy(() => tensorBytes(rows.to(dtype)))
  return tidy(() => {
    const values = rows.to('f32').contiguous().reshape([-1])
    if (values.isfinite().all().item() !== 1)
      throw new FormatError(`has NaN or infinite values, which ${type} cannot hold`, { file: name })
    return quantize(values, type).toTypedArray<'u8'>()
  })
}
