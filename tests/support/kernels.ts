// Holding a kernel to its reference: outputs and gradients of one computation, with and without the kernel.
import { expect } from 'vitest'
import { type KernelName, randn, type Tensor, tidy, withKernels } from '../../src/torch/index.ts'
import { expectClose, expectNoLeak } from './tensors.ts'

/**
 * Computes `compute()` with the kernel and without any, and compares the outputs, and the gradients of `inputs` under
 * random weights of the outputs.
 *
 * @param tolerance absolute; for f64 and values of order one, sums of n terms differ by about n x 1e-16
 */
export function expectSameAsReference(
  kernel: KernelName,
  inputs: readonly Tensor[],
  compute: () => Tensor[],
  tolerance: number,
): void {
  expectNoLeak(() => {
    const fast = withKernels([kernel], () => outcome(inputs, compute))
    const slow = withKernels([], () => outcome(inputs, compute))
    expect(fast.length).toBe(slow.length)
    for (const [i, tensor] of fast.entries()) expectClose(tensor, slow[i] ?? tensor.neg(), tolerance)
    for (const input of inputs) input.grad = null
  })
}

function outcome(inputs: readonly Tensor[], compute: () => Tensor[]): Tensor[] {
  return tidy(() => {
    for (const input of inputs) input.grad = null
    const outputs = compute()
    const weighted = outputs.map((output, i) =>
      output.mul(randn(output.shape, { dtype: output.dtype, seed: i + 1 })).sum(),
    )
    weighted.reduce((sum, part) => sum.add(part)).backward()
    return [...outputs, ...inputs.map(input => input.grad?.clone() ?? input.mul(0))].map(tensor =>
      tensor.detach(),
    )
  })
}
