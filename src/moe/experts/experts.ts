// What every kind of expert offers.

import type { Tensor } from '../../torch/index.ts'

/** E feed-forward networks. */
export interface Experts {
  readonly numExperts: number
  /**
   * Rows grouped by expert through their experts: [N, D] -> [N, D].
   *
   * @param counts rows of each expert, in order
   */
  forward(x: Tensor, counts: readonly number[]): Tensor
  /** One expert alone: [n, D] -> [n, D]. The reference that forward() is tested against. */
  expert(index: number, x: Tensor): Tensor
}
