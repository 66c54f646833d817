// Gradients as results, where `backward()` would add them to the leaves.

import { native } from './native.ts'
import { type BackwardOptions, Tensor } from './tensor.ts'

export interface GradOptions extends BackwardOptions {
  /** Weight of each element of the output. Default: 1, for an output of one element. */
  weight?: Tensor | null
}

/**
 * The gradient of `output` with respect to each of `inputs`; null for one that it does not depend on. No `grad` is
 * touched. With `createGraph`, the results can be differentiated again.
 *
 * @example const [slope] = grad(x.pow(3).sum(), [x], { createGraph: true })
 */
export function grad(
  output: Tensor,
  inputs: readonly Tensor[],
  { weight = null, createGraph = false, retainGraph = createGraph }: GradOptions = {},
): (Tensor | null)[] {
  const handles = inputs.map(input => input.handle)
  return native()
    .gradOf(output.handle, handles, weight?.handle ?? null, retainGraph, createGraph)
    .map(handle => (handle === null ? null : new Tensor(handle)))
}
