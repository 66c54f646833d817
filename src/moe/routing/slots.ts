import type { Tensor } from '../../torch/index.ts'

/** The routing with its slots emptied where `at` is true: no expert, no weight. */
export function emptied<R extends { indices: Tensor; weights: Tensor }>(routing: R, at: Tensor): R {
  return {
    ...routing,
    indices: routing.indices.maskedFill(at, -1),
    weights: routing.weights.maskedFill(at, 0),
  }
}
