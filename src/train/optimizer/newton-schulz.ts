// The nearest orthogonal matrix, about.
// Shapes: [..., O, I], with R the smaller of O and I.

import { kernelFor, type Tensor, tidy } from '../../torch/index.ts'

/** Of `s -> a s + b s^3 + c s^5`, whose slope at 0 is steep and which brings (0, 1] near 1: Muon's, tuned by Jordan. */
const [a, b, c] = [3.4445, -4.775, 2.0315]

/** Jordan's: what is left of a singular value above a hundredth of the norm is in about 0.7 to 1.2. */
const iterations = 5

/**
 * `U V^T` of each matrix `U S V^T`, with singular values near 1 in place of 1: Newton-Schulz on the quintic above
 * (Jordan 2024, kellerjordan.github.io/posts/muon). In products alone, a batch of matrices in each:
 * `X <- a X + (b X X^T + c (X X^T)^2) X`.
 */
export function orthogonalized(matrices: Tensor): Tensor {
  const [rows = 1, columns = 1] = matrices.shape.slice(-2)
  if (rows > columns) return orthogonalized(matrices.transpose(-2, -1)).transpose(-2, -1)
  const batch = matrices.reshape([-1, rows, columns])
  const kernel = kernelFor('newtonSchulz', batch)
  if (kernel) return kernel(batch, a, b, c, iterations).view(matrices.shape)
  const norms = batch.norm(2, [-2, -1], true).clamp(1e-7) // a matrix of zeros stays one
  let x = batch.div(norms) // [E, R, I]
  for (let i = 0; i < iterations; i++) {
    const before = x
    x = tidy(() => closer(before))
    before.dispose()
  }
  return x.reshape(matrices.shape)
}

function closer(x: Tensor): Tensor {
  const gram = x.bmm(x.transpose(1, 2)) // [E, R, R]
  return x.baddbmm(gram.baddbmm(gram, gram, b, c), x, a)
}
