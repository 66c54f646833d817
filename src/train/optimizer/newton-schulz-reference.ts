// What Newton-Schulz does, by singular values, which it is held to.

import { callOperator, type Tensor } from '../../torch/index.ts'

/** The quintic five times over, of a singular value as a share of the norm. */
export function fiveTimes(share: number): number {
  let s = share
  for (let i = 0; i < 5; i++) s = 3.4445 * s - 4.775 * s ** 3 + 2.0315 * s ** 5
  return s
}

/** `U p(S / |S|) V^T` of one matrix [O, I] in f64. */
export function referenceOrthogonalized(matrix: Tensor): Tensor {
  const [u, s, vh] = callOperator('aten::linalg_svd', matrix, false) as [Tensor, Tensor, Tensor]
  const shares = s.div(s.norm()).tolist() as number[]
  const columns = shares.map((share, i) => u.select(1, i).outer(vh.select(0, i)).mul(fiveTimes(share)))
  return columns.reduce((sum, each) => sum.add(each))
}
