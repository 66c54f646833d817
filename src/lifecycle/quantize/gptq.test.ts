// GPTQ against its equations, row by row with the inverse written out.

import { describe, expect, test } from 'vitest'
import { expectNoLeak } from '../../../tests/support/tensors.ts'
import { codecs, type GgmlTypeName, levelLayouts, putLevels } from '../../formats/index.ts'
import { dequantize, quantize } from '../../models/index.ts'
import { randn, type Tensor, tensor } from '../../torch/index.ts'
import { gptq, inverseFactor } from './gptq.ts'

const types = Object.keys(levelLayouts) as GgmlTypeName[]

/** Inputs that correlate, as activations do: [n, K]. */
function inputs(count: number, columns: number): Tensor {
  const mixed = randn([count, 8], { seed: 1 }).matmul(randn([8, columns], { seed: 2 }))
  return mixed.add(randn([count, columns], { seed: 3 }).mul(0.5))
}

const hessianOf = (x: Tensor): Tensor => x.t().matmul(x)
const importanceOf = (hessian: Tensor): Tensor => hessian.diagonal().contiguous().clone()

/** `tr(E H E^T)`, the squared error of outputs. */
function outputError(w: Tensor, bytes: Tensor, type: GgmlTypeName, hessian: Tensor): number {
  const off = dequantize(bytes, type).view(w.shape).sub(w)
  return Number(off.matmul(hessian).mul(off).sum().item())
}

/**
 * Optimal brain quantization in a fixed order (arXiv:2210.17323, equations 2 and 3): after each column the inverse is reduced by
 * Gaussian elimination, `H^-1 <- H^-1 - H^-1_:j H^-1_j: / H^-1_jj`. No Cholesky factor, no blocks of updates, in f64.
 */
function naiveGptq(
  w: Float32Array,
  columns: number,
  type: GgmlTypeName,
  hessian: Tensor,
  importance: Float32Array,
) {
  const [layout, codec] = [levelLayouts[type], codecs[type]]
  if (!layout || !codec) throw new Error(`${type} has no levels`)
  const { blockSize, blockBytes, values } = layout
  const [least, most] = [values[0] ?? 0, values.at(-1) ?? 0]
  const rowBytes = (columns / blockSize) * blockBytes
  const bytes = new Uint8Array((w.length / columns) * rowBytes)
  const decode = (block: Uint8Array): Float32Array => {
    const values = new Float32Array(blockSize)
    codec.decode(block, values)
    return values
  }
  for (let row = 0; row < w.length / columns; row++) {
    const left = Float64Array.from(w.subarray(row * columns, (row + 1) * columns))
    const inverse = dampedInverse(hessian)
    for (let first = 0, at = row * rowBytes; first < columns; first += blockSize, at += blockBytes) {
      const block = new Uint8Array(blockBytes)
      const columnsOfBlock = importance.subarray(first, first + blockSize)
      codec.encode?.(Float32Array.from(left.subarray(first, first + blockSize)), block, columnsOfBlock)
      const [lows, highs] = [0, values.length - 1].map(level => {
        putLevels(layout, block, new Uint8Array(blockSize).fill(level))
        return decode(block)
      }) as [Float32Array, Float32Array]
      const levels = new Uint8Array(blockSize)
      for (let j = 0; j < blockSize; j++) {
        const column = first + j
        const [low, high, w] = [lows[j] ?? 0, highs[j] ?? 0, left[column] ?? 0]
        const grid = values.map(value => low + ((high - low) * (value - least)) / (most - least))
        const level = grid.reduce(
          (best, value, l) => (Math.abs(w - value) < Math.abs(w - (grid[best] ?? 0)) ? l : best),
          0,
        )
        levels[j] = level
        const own = inverse[column] as Float64Array
        const lost = (w - (grid[level] ?? 0)) / (own[column] ?? 1)
        for (let k = column + 1; k < columns; k++) left[k]! -= lost * (own[k] ?? 0)
        eliminate(inverse, column)
      }
      putLevels(layout, block, levels)
      bytes.set(block, at)
    }
  }
  return bytes
}

function dampedInverse(hessian: Tensor): Float64Array[] {
  const h = hessian.double().clone()
  h.diagonal().add_(h.diagonal().mean().mul(0.01))
  return h
    .inverse()
    .unbind()
    .map(row => row.contiguous().toTypedArray<'f64'>())
}

function eliminate(inverse: Float64Array[], j: number): void {
  const pivot = Float64Array.from(inverse[j] as Float64Array)
  for (const row of inverse.slice(j + 1)) {
    const factor = (row[j] ?? 0) / (pivot[j] ?? 1)
    for (const [k, value] of pivot.entries()) row[k]! -= factor * value
  }
}

describe.each(types)('%s', type => {
  const columns = 2 * (levelLayouts[type]?.blockSize ?? 32)
  const x = inputs(columns * 2, columns)
  const hessian = hessianOf(x)
  const w = randn([8, columns], { seed: 4 })
  const importance = importanceOf(hessian)

  test('does what its equations say', () => {
    const fast = gptq(w, type, inverseFactor(hessian), importance)
    const few = w.narrow(0, 0, 2).contiguous()
    const naive = naiveGptq(
      few.toTypedArray<'f32'>(),
      columns,
      type,
      hessian,
      importance.toTypedArray<'f32'>(),
    )
    // A number halfway between levels may fall to either in f32 and f64, and those after it follow: errors are compared.
    const fastOfFew = fast.narrow(0, 0, naive.length)
    const [mine, expected] = [fastOfFew, tensor(naive)].map(bytes => outputError(few, bytes, type, hessian))
    expect(Math.abs((mine ?? 0) / (expected ?? 1) - 1)).toBeLessThan(0.03)
    const same = fastOfFew.eq(tensor(naive)).double().mean().item()
    expect(Number(same)).toBeGreaterThan(0.6)
  })

  test('outputs are nearer than those of blocks rounded alone, where inputs correlate', () => {
    const alone = [importance, null].map(known => quantize(w.reshape([-1]), type, known))
    const rounded = gptq(w, type, inverseFactor(hessian), importance)
    for (const bytes of alone)
      expect(outputError(w, rounded, type, hessian)).toBeLessThan(0.8 * outputError(w, bytes, type, hessian))
  })

  test('levels are put where decoding finds them', () => {
    const layout = levelLayouts[type]
    if (!layout) return
    const bytes = quantize(w.reshape([-1]), type).toTypedArray<'u8'>()
    const decode = (levels: ArrayLike<number>): Float32Array => {
      const filled = Uint8Array.from(bytes)
      putLevels(layout, filled, levels)
      return dequantize(tensor(filled), type).toTypedArray<'f32'>()
    }
    const [count, last] = [8 * columns, layout.values.length - 1]
    const [low, high] = [decode(new Uint8Array(count)), decode(new Uint8Array(count).fill(last))]
    const levels = Uint8Array.from({ length: count }, (_, i) => (i * 7) % (last + 1))
    const share = (level = 0): number => {
      const [least = 0, most = 0, value = 0] = [0, last, level].map(at => layout.values[at])
      return (value - least) / (most - least)
    }
    for (const [i, value] of decode(levels).entries()) {
      const [from, to] = [low[i] ?? 0, high[i] ?? 0]
      expect(value).toBeCloseTo(from + (to - from) * share(levels[i]), 4)
    }
  })
})

test('the factor is that of the damped inverse', () => {
  const hessian = hessianOf(inputs(64, 32))
  const factor = inverseFactor(hessian).double()
  const damped = hessian.double().clone()
  damped.diagonal().add_(damped.diagonal().mean().mul(0.01))
  const product = factor.t().matmul(factor).matmul(damped) // H^-1 H
  const off = product.sub(
    tensor(Float64Array.from({ length: 1024 }, (_, i) => (i % 33 === 0 ? 1 : 0))).view([32, 32]),
  )
  expect(Number(off.abs().max().item())).toBeLessThan(1e-3)
})

test('nothing is left behind', () =>
  expectNoLeak(() => {
    using factor = inverseFactor(hessianOf(inputs(128, 64)))
    using bytes = gptq(randn([4, 64], { seed: 5 }), 'Q4_0', factor, tensor(new Float32Array(64).fill(1)))
    expect(bytes.size(0)).toBe(4 * 2 * 18)
  }))
