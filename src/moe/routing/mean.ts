import { full, noGrad, type Tensor } from '../../torch/index.ts'
import { overBatch } from './over-batch.ts'

/** The mean over real tokens of the whole batch: [T, n] -> [n]. */
export function meanOverTokens(values: Tensor, mask: Tensor | null): Tensor {
  if (mask === null && overBatch.isHere) return values.size(0) === 0 ? values.sum(0) : values.mean(0)
  const real = mask?.to(values.dtype).unsqueeze(-1) // [T, 1]
  return overBatch
    .sum((real ? values.mul(real) : values).sum(0))
    .div(noGrad(() => realTokens({ values, mask }).clamp(1)))
}

/** How many tokens of the whole batch are real: a scalar in the type of the values. */
export function realTokens({ values, mask }: { values: Tensor; mask: Tensor | null }): Tensor {
  const real = mask === null ? full([], values.size(0), { device: values.device }) : mask.sum()
  return overBatch.sum(real.to(values.dtype))
}
