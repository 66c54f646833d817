import type { Tensor } from '../torch/index.ts'

/** The tensor in f32, or in f64 if it already is: for sums that half precision would spoil. */
export function atLeastF32(x: Tensor): Tensor {
  return x.dtype === 'f64' ? x : x.to('f32')
}
