// Tensors as text, in the manner of PyTorch: edges of long dimensions, aligned columns.

import { inScope } from './scopes.ts'
import type { NestedNumbers, Tensor } from './tensor.ts'

const edge = 3 // items shown at each end of a long dimension
const threshold = 1000 // elements above which dimensions are shortened

/** `tensor([[1., 2.], [3., 4.]], shape=[2, 2], dtype=f32)` */
export function formatTensor(tensor: Tensor): string {
  const { shape, dtype, device } = tensor
  const place = device === 'cpu' ? '' : `, device=${device}`
  const suffix = `, shape=[${shape.join(', ')}], dtype=${dtype}${place}${tensor.requiresGrad ? ', requiresGrad' : ''})`
  if (tensor.numel === 0) return `tensor([]${suffix}`
  const shorten = tensor.numel > threshold
  const values = inScope(
    () => (shorten ? corners(tensor.detach()) : tensor.detach().tolist()),
    () => [],
  )
  const format = numberFormat(dtype, flatten(values))
  return `tensor(${layout(values, shorten ? shape : [], shape.length, 0, format)}${suffix}`
}

/** The first and last items of every long dimension. */
function corners(tensor: Tensor): NestedNumbers {
  const size = tensor.shape[0]
  if (size === undefined) return tensor.item()
  const all = Array.from({ length: Math.min(size, 2 * edge) }, (_, i) => i)
  const shown = size > 2 * edge ? all.map(i => (i < edge ? i : size - 2 * edge + i)) : all
  return shown.map(i => corners(tensor.select(0, i)))
}

function flatten(values: NestedNumbers): number[] {
  return typeof values === 'number' ? [values] : values.flatMap(flatten)
}

/** `fullShape` is given when dimensions may be shortened. */
function layout(
  values: NestedNumbers,
  fullShape: readonly number[],
  ndim: number,
  dim: number,
  format: (value: number) => string,
): string {
  if (typeof values === 'number') return format(values)
  const items = values.map(item => layout(item, fullShape, ndim, dim + 1, format))
  if ((fullShape[dim] ?? 0) > items.length) items.splice(edge, 0, '...')
  const innermost = dim === ndim - 1
  const gap = innermost ? ', ' : `,${'\n'.repeat(ndim - dim - 1)}${' '.repeat('tensor('.length + dim + 1)}`
  return `[${items.join(gap)}]`
}

/** One format for all elements, padded to one width. */
function numberFormat(dtype: string, all: readonly number[]): (value: number) => string {
  const plain = plainFormat(dtype, all)
  const width = Math.max(...all.map(value => plain(value).length))
  return all.length === 1 ? plain : value => plain(value).padStart(width)
}

function plainFormat(dtype: string, all: readonly number[]): (value: number) => string {
  if (dtype === 'bool') return value => (value ? 'true' : 'false')
  if (dtype.startsWith('i') || dtype.startsWith('u')) return String
  const magnitudes = all.filter(Number.isFinite).map(Math.abs)
  const largest = Math.max(0, ...magnitudes)
  const smallest = Math.min(1, ...magnitudes.filter(value => value > 0))
  const whole = magnitudes.every(Number.isInteger) && largest < 1e8
  const scientific = largest >= 1e8 || smallest < 1e-4
  return value => {
    if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf'
    if (whole) return `${value}.`
    return scientific ? value.toExponential(4) : value.toFixed(4)
  }
}
