// Rotary position embedding (arXiv:2104.09864), in the half-split layout of HF transformers.
// Shapes: B batch, H heads, T positions, R rotated dimensions, D head width.

import { cat, kernelFor, noGrad, Tensor, tensor, tidy } from '../torch/index.ts'

/** Cosines and sines of every position's angles, each [T, R] or [B, T, R]. */
export interface Rotation {
  cos: Tensor
  sin: Tensor
}

/**
 * `angle[t, i] = position[t] * frequency[i]`, the same for dimensions i and i + R / 2.
 *
 * @param positions integers, [T] or [B, T]
 * @param frequencies radians per position, [R / 2]; a tensor is on the device of the positions
 * @param scale multiplies cosines and sines
 */
export function rotation(positions: Tensor, frequencies: Tensor | readonly number[], scale = 1): Rotation {
  return noGrad(() =>
    tidy(() => {
      const isThere = frequencies instanceof Tensor
      const perPosition = isThere ? frequencies : frequencyTable(frequencies).to(positions.device)
      const angles = positions.to('f32').unsqueeze(-1).mul(perPosition) // [..., T, R / 2]
      const both = cat([angles, angles], -1) // [..., T, R]
      const [cos, sin] = [both.cos(), both.sin()]
      return scale === 1 ? { cos, sin } : { cos: cos.mul(scale), sin: sin.mul(scale) }
    }),
  )
}

/** f32 [R / 2] */
export function frequencyTable(frequencies: readonly number[]): Tensor {
  return tensor(Float32Array.from(frequencies))
}

/** Turns each pair (x_i, x_{i + R/2}) of `x` [B, H, T, D] by its position's angle; what follows the first R stays. */
export function rotate(x: Tensor, { cos, sin }: Rotation): Tensor {
  const [rotated, width] = [cos.size(-1), x.size(-1)]
  if (rotated < width) {
    const turned = rotate(x.narrow(-1, 0, rotated), { cos, sin })
    return cat([turned, x.narrow(-1, rotated, width - rotated)], -1)
  }
  const kernel = kernelFor('rotate', x)
  if (kernel) return kernel(x.transpose(1, 2), cos, sin).transpose(1, 2)
  // A batch of own positions [B, T, R] needs the head dimension between.
  const perHead = (part: Tensor): Tensor => (part.ndim === 3 ? part.unsqueeze(1) : part).to(x.dtype)
  const [first, second] = x.chunk(2, -1) as [Tensor, Tensor]
  const turned = cat([second.neg(), first], -1)
  return x.mul(perHead(cos)).add_(turned.mul(perHead(sin)))
}

/** Pairs side by side (x_0, x_1, x_0, x_1, ...) to the half-split layout: [..., R] -> [..., R]. */
export function halvesOfPairs(x: Tensor): Tensor {
  const pairs = [...x.shape.slice(0, -1), x.size(-1) / 2, 2]
  return x.view(pairs).transpose(-1, -2).reshape(x.shape)
}
