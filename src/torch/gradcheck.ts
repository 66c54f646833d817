// Analytic gradients against central differences.

import { TorchError } from '../errors.ts'
import type { Tensor } from './tensor.ts'
import { noGrad, tidy } from './tidy.ts'

/**
 * Checks `d f / d input` of every input element: `(f(x + h) - f(x - h)) / 2h` against autograd, in f64.
 *
 * The error of the difference is about `h^2 f''' / 6 + 1e-16 |f| / h`, smallest near h = 1e-5, where both terms stay
 * below 1e-9 for functions of order one; the default tolerance leaves two digits for larger ones.
 *
 * @param f gives a scalar
 * @param inputs f64 leaves that require gradients
 * @throws TorchError naming the input and element that differ
 */
export function gradcheck(
  f: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  { step = 1e-5, tolerance = 1e-7 } = {},
): void {
  tidy(() => {
    for (const input of inputs) input.grad = null
    f(...inputs).backward()
    for (const [i, input] of inputs.entries()) {
      const analytic = input.grad === null ? new Float64Array(input.numel) : input.grad.toTypedArray<'f64'>()
      const flat = input.detach().view([-1])
      for (let at = 0; at < flat.numel; at++) {
        const numeric = tidy(() => difference(() => f(...inputs), flat.select(0, at), step))
        const allowed = tolerance * Math.max(1, Math.abs(numeric))
        if (!(Math.abs(numeric - (analytic[at] ?? 0)) <= allowed)) {
          throw new TorchError(
            `gradient of input ${i}, element ${at}, is ${analytic[at]}, the difference quotient ${numeric}`,
            { operator: 'gradcheck', args: inputs.map(tensor => tensor.describe()) },
          )
        }
      }
    }
  })
}

function difference(f: () => Tensor, element: Tensor, step: number): number {
  return noGrad(() => {
    element.add_(step)
    const above = f().item()
    element.sub_(2 * step)
    const below = f().item()
    element.add_(step)
    return (above - below) / (2 * step)
  })
}
