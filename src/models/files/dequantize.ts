// Blocks of quantized values as tensors, and back. The kernels' readable twins are the codecs of formats/.

import { codecs, type GgmlTypeName } from '../../formats/index.ts'
import { dequantizeBlocks, quantizeBlocks, type Tensor } from '../../torch/index.ts'

/** Whether a type's blocks can be decoded. */
export function canDequantize(type: GgmlTypeName): boolean {
  return codecs[type] !== undefined
}

/** Whole blocks, u8 [bytes], as f32 [values]. */
export function dequantize(bytes: Tensor, type: GgmlTypeName): Tensor {
  return dequantizeBlocks(bytes, type)
}

/**
 * Finite f32 [values] as whole blocks, u8 [bytes].
 *
 * @param importance f32 [columns], how much the squared error of each column counts in rows of so many values. Default: all
 * alike
 */
export function quantize(values: Tensor, type: GgmlTypeName, importance: Tensor | null = null): Tensor {
  return quantizeBlocks(values, type, importance)
}
