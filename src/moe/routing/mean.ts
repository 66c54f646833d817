import { full, noGrad, type Tensor } from '../../torch/index.ts'

/** The mean over real tokens: [T, n] -> [n]. */
export function meanOverTokens(values: Tensor, mask: Tensor | null): Tensor {
  if (mask === null) return values.size(0) === 0 ? values.sum(0) : values.mean(0)
  const real = mask.to(values.dtype).unsqueeze(-1) // [T, 1]
  return values
    .mul(real)
    .sum(0)
    .div(noGrad(() => real.sum().clamp(1)))
}

/** How many tokens are real: a scalar in the type of the values. */
export function realTokens({ values, mask }: { values: Tensor; mask: Tensor | null }): Tensor {
  const real = mask === null ? full([], values.size(0), { device: values.device }) : mask.sum()
  return real.to(values.dtype)
}
