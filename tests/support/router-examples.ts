// Logits that several routers' worked examples share.
import { noGrad, type Tensor, tensor } from '../../src/torch/index.ts'

/** Three tokens, four experts; the last row has a tie at places 0 and 2. */
export const z = tensor(
  [
    [2, 1, 0, -1],
    [0, 0, 1, 3],
    [1, 2, 1, 0],
  ],
  { dtype: 'f64' },
)

export const four = { hiddenSize: 4, numExperts: 4 }

/** Makes the logits of a router of width E equal to its input. */
export function identity<R extends { weight: Tensor; to(dtype: 'f64'): unknown }>(router: R): R {
  router.to('f64')
  noGrad(() => router.weight.zero_().diagonal().fill_(1))
  return router
}

/** A row of numbers to six digits. */
export const rounded = (values: Tensor, digits = 6): unknown =>
  (values.tolist() as number[]).map(value => Number(value.toFixed(digits)))
