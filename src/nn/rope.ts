// Rotary position embedding (arXiv:2104.09864), in the half-split layout of HF transformers.

import { arange, cat, noGrad, type Tensor, tidy } from '../torch/index.ts'

/** Cosines and sines of every position's angles, each [T, headDim] or [B, T, headDim]. */
export interface Rotation {
  cos: Tensor
  sin: Tensor
}

/**
 * `angle[t, i] = position[t] * theta^(-2i / headDim)`, the same for dimensions i and i + headDim / 2.
 *
 * @param positions integers, [T] or [B, T]
 */
export function rotation(positions: Tensor, headDim: number, theta: number): Rotation {
  return noGrad(() =>
    tidy(() => {
      const exponents = arange(0, headDim, 2, { dtype: 'f32', device: positions.device }).div(headDim)
      const frequencies = exponents.mul(-Math.log(theta)).exp() // [headDim / 2]
      const angles = positions.to('f32').unsqueeze(-1).mul(frequencies) // [..., T, headDim / 2]
      const both = cat([angles, angles], -1) // [..., T, headDim]
      return { cos: both.cos(), sin: both.sin() }
    }),
  )
}

/** Turns each pair (x_i, x_{i + headDim/2}) of `x` [B, H, T, headDim] by its position's angle. */
export function rotate(x: Tensor, { cos, sin }: Rotation): Tensor {
  // A batch of own positions [B, T, headDim] needs the head dimension between.
  const perHead = (part: Tensor): Tensor => (part.ndim === 3 ? part.unsqueeze(1) : part).to(x.dtype)
  const [first, second] = x.chunk(2, -1) as [Tensor, Tensor]
  const turned = cat([second.neg(), first], -1)
  return x.mul(perHead(cos)).add_(turned.mul(perHead(sin)))
}
