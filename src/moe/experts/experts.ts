// What every kind of expert offers.

import type { Tensor } from '../../torch/index.ts'
import type { TokenRouting } from '../routing.ts'

/** E feed-forward networks. */
export interface Experts {
  readonly numExperts: number
  /**
   * Rows grouped by expert through their experts: [N, D] -> [N, D].
   *
   * @param counts rows of each expert, in order
   */
  forward(x: Tensor, counts: readonly number[]): Tensor
  /**
   * `y_t = sum_k weights_tk expert(x_t)`, dispatch and combine included, by a kernel or another short cut:
   * [T, D] -> [T, D]. Null where there is none for these tensors; absent where there never is.
   */
  mixture?(x: Tensor, routing: TokenRouting): Tensor | null
  /** One expert alone: [n, D] -> [n, D]. The reference that forward() is tested against. */
  expert(index: number, x: Tensor): Tensor
}
