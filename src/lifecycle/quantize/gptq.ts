// GPTQ: columns are rounded one after the other, and those that follow make up for what was lost (arXiv:2210.17323).
// Shapes: R rows, K columns, B columns of a block.

import { invariant } from '../../errors.ts'
import { type GgmlTypeName, type LevelLayout, levelLayouts, putLevels } from '../../formats/index.ts'
import { dequantize, quantize } from '../../models/index.ts'
import { noGrad, type Tensor, tensor, tidy, zeros } from '../../torch/index.ts'

/** What is added to the diagonal, of its mean (section 3.3, step 3). */
const damping = 0.01

/**
 * The upper triangle U with `H^-1 = U^T U`: row i holds what GPTQ needs of the inverse once columns 0 .. i-1 are rounded
 * (algorithm 1, and section 3.3, step 3).
 *
 * @param hessian `[K, K]`, not singular once 1% of its diagonal's mean is added
 */
export function inverseFactor(hessian: Tensor): Tensor {
  return tidy(() => {
    const h = hessian.double().clone()
    const diagonal = h.diagonal()
    diagonal.add_(diagonal.mean().mul(damping))
    return h.inverse().cholesky(true).float()
  })
}

/**
 * Algorithm 1, whose blocks are those of the type. A block's scales are fitted when it is reached, to its columns as earlier
 * ones have left them; its levels then follow column by column:
 *
 * `e_j = (w_j - q_j) / U_jj`, `w_k <- w_k - e_j U_jk` for all k > j
 *
 * @param rows f32 [R, K]
 * @param type one that has a row in levelLayouts
 * @param factor see inverseFactor()
 * @param importance f32 [K], for the scales
 * @returns u8 [bytes]
 */
export function gptq(rows: Tensor, type: GgmlTypeName, factor: Tensor, importance: Tensor): Tensor {
  const layout = levelLayouts[type]
  invariant(layout, `${type} has no levels to choose`)
  const [numRows, columns] = rows.shape as [number, number]
  const { blockSize, blockBytes } = layout
  const rowBytes = (columns / blockSize) * blockBytes
  const bytes = new Uint8Array(numRows * rowBytes)
  return noGrad(() =>
    tidy(() => {
      const left = rows.clone() // [R, K]: what is still to be rounded
      for (let first = 0, at = 0; first < columns; first += blockSize, at += blockBytes) {
        const block = tidy(() => roundBlock(left, first, { type, layout, factor, importance }))
        for (let row = 0; row < numRows; row++)
          bytes.set(block.subarray(row * blockBytes, (row + 1) * blockBytes), row * rowBytes + at)
      }
      return tensor(bytes)
    }),
  )
}

interface BlockContext {
  type: GgmlTypeName
  layout: LevelLayout
  factor: Tensor
  importance: Tensor
}

/** Rounds columns `first .. first + B - 1` of all rows, and takes what they lost from the columns after them. */
function roundBlock(
  left: Tensor,
  first: number,
  { type, layout, factor, importance }: BlockContext,
): Uint8Array {
  const { blockSize } = layout
  const block = left.narrow(1, first, blockSize).clone() // [R, B]
  const inner = factor.narrow(0, first, blockSize).narrow(1, first, blockSize) // [B, B]
  const bytes = quantize(
    block.reshape([-1]),
    type,
    importance.narrow(0, first, blockSize).contiguous(),
  ).toTypedArray<'u8'>()
  const { low, step, divisor } = gridOf(bytes, type, layout, block.shape)
  const values = tensor(Float32Array.from(layout.values))
  const [levels, errors] = [zeros(block.shape), zeros(block.shape)]
  for (let j = 0; j < blockSize; j++) {
    tidy(() => {
      const at = (x: Tensor): Tensor => x.select(1, j) // [R]
      const w = at(block)
      const level = nearestLevel(w.sub(at(low)).div(at(divisor)), layout)
      const lost = w.sub(at(low).add(at(step).mul(values.take(level)))).div(inner.select(0, j).select(0, j))
      at(levels).copy_(level)
      at(errors).copy_(lost)
      if (j + 1 === blockSize) return
      const after = inner.select(0, j).narrow(0, j + 1, blockSize - j - 1) // [B - j - 1]
      block.narrow(1, j + 1, blockSize - j - 1).sub_(lost.unsqueeze(1).mul(after))
    })
  }
  const rest = left.size(1) - first - blockSize
  if (rest > 0) {
    const across = factor.narrow(0, first, blockSize).narrow(1, first + blockSize, rest) // [B, rest]
    left.narrow(1, first + blockSize, rest).sub_(errors.matmul(across))
  }
  putLevels(layout, bytes, levels.to('u8').reshape([-1]).toTypedArray<'u8'>())
  return bytes
}

/** i64 [R]: the levels whose values are nearest to numbers, f32 [R]. */
function nearestLevel(numbers: Tensor, { values }: LevelLayout): Tensor {
  const [first = 0, most] = [values[0], values.length - 1]
  const isEven = values.every((value, level) => value === first + level)
  if (isEven) return numbers.sub(first).round().clamp(0, most).long()
  const midpoints = values.slice(1).map((value, i) => (value + (values[i] ?? 0)) / 2)
  return numbers
    .unsqueeze(-1)
    .gt(tensor(Float32Array.from(midpoints)))
    .sum(-1)
}

/**
 * The numbers that a block's scales can stand for: `low + step value` of each, [R, B]. The divisor is the step, or 1 where that is 0
 * and any level will do.
 */
function gridOf(
  bytes: Uint8Array,
  type: GgmlTypeName,
  layout: LevelLayout,
  shape: readonly number[],
): Record<'low' | 'step' | 'divisor', Tensor> {
  const { values, blockBytes, blockSize } = layout
  const all = (level: number): Tensor => {
    const filled = Uint8Array.from(bytes)
    putLevels(layout, filled, new Uint8Array((bytes.length / blockBytes) * blockSize).fill(level))
    return dequantize(tensor(filled), type).view(shape)
  }
  const [first = 0, last = 0] = [values[0], values.at(-1)]
  const lowest = all(0)
  const step = all(values.length - 1)
    .sub(lowest)
    .div(last - first)
  return { low: lowest.sub(step.mul(first)), step, divisor: step.add(step.eq(0).to('f32')) }
}
