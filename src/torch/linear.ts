import { atenLinear } from './generated/functions.ts'
import { kernelFor } from './kernels.ts'
import type { Tensor } from './tensor.ts'

/**
 * `y = x W^T + b`, on a CPU by the fastest library of products in the process; see gemmChoice().
 *
 * @param x [..., in]
 * @param weight [out, in]
 * @param bias [out]; default: none
 * @returns [..., out]
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor | null): Tensor {
  const kernel = kernelFor('linear', x, weight)
  return kernel ? kernel(x, weight, bias) : atenLinear(x, weight, bias)
}
