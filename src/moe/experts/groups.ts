// Rows grouped by expert, each group through its own expert: what every structure without a kernel does.
// Shapes: N rows, D model.

import { invariant } from '../../errors.ts'
import { cat, type Tensor } from '../../torch/index.ts'

/**
 * The groups' outputs in the order of their rows: [N, D] -> [N, D].
 *
 * @param counts rows of each expert, in order; an expert without rows is not called
 */
export function throughGroups(
  xND: Tensor,
  counts: readonly number[],
  apply: (expert: number, group: Tensor) => Tensor,
): Tensor {
  const groups = xND.splitWithSizes(counts)
  const outputs = groups.flatMap((group, e) => (counts[e] === 0 ? [] : [apply(e, group)]))
  return outputs.length > 0 ? cat(outputs) : xND.mul(0)
}

/** An expert's slice of a stack that was unbound. */
export function sliceOf(slices: readonly Tensor[], expert: number): Tensor {
  const slice = slices[expert]
  invariant(slice, `no expert ${expert} of ${slices.length}`)
  return slice
}
