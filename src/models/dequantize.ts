// Blocks of quantized values as tensors.

import { invariant } from '../errors.ts'
import { codecs, type GgmlTypeName } from '../formats/index.ts'
import { type Tensor, tensor } from '../torch/index.ts'

/** Whether a type's blocks can be decoded. */
export function canDequantize(type: GgmlTypeName): boolean {
  return codecs[type] !== undefined
}

/** Whole blocks, u8 [bytes], as f32 [values]. */
export function dequantize(bytes: Tensor, type: GgmlTypeName): Tensor {
  const codec = codecs[type]
  invariant(codec, `${type} cannot be decoded`)
  const values = new Float32Array((bytes.numel / codec.blockBytes) * codec.blockSize)
  codec.decode(bytes.toTypedArray<'u8'>(), values)
  return tensor(values)
}
