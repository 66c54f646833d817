// Functions that make tensors from JavaScript data, constants or random numbers.

import { TorchError } from '../errors.ts'
import { type Device, type DType, dtypeOf, type Scalar, type TensorData } from './dtype.ts'
import * as make from './generated/functions.ts'
import { Generator } from './generator.ts'
import { native } from './native.ts'
import { Tensor } from './tensor.ts'

/** What every maker accepts. Defaults: f32, on the CPU, no gradient. */
export interface TensorOptions {
  dtype?: DType
  device?: Device
  requiresGrad?: boolean
}

/** Random makers also take a generator, or a seed for a generator of their own. Default: the shared generator. */
export type RandomOptions = TensorOptions & ({ generator?: Generator } | { seed?: number })

/** Numbers, booleans or bigints, nested as deep as the tensor has dimensions. */
export type NestedData = Scalar | readonly NestedData[]

/**
 * A tensor with a copy of `data`.
 *
 * @param options.shape reshapes flat data; default: the nesting of arrays, or one dimension for a typed array
 * @param options.dtype default: bool for booleans, i64 for bigints, f32 for numbers; a typed array's own type
 */
export function tensor(
  data: TensorData | NestedData,
  options: TensorOptions & { shape?: readonly number[] } = {},
): Tensor {
  if (ArrayBuffer.isView(data)) return fromFlat(data, dtypeOf(data), [data.length], options)
  const flat = flatten(data)
  const shape = shapeOf(data)
  if (flat instanceof Uint8Array) return fromFlat(flat, 'bool', shape, options)
  if (flat instanceof BigInt64Array) return fromFlat(flat, 'i64', shape, options)
  return fromFlat(flat, 'f64', shape, { ...options, dtype: options.dtype ?? 'f32' })
}

function fromFlat(
  data: TensorData,
  dtype: DType,
  shape: readonly number[],
  options: TensorOptions & { shape?: readonly number[] },
): Tensor {
  return finish(new Tensor(native().fromBytes(data, options.shape ?? shape, dtype, false)), options)
}

/**
 * A tensor on a typed array's own memory, without a copy: writing to one changes the other. The tensor keeps the
 * array alive. Do not transfer or resize the array's buffer while the tensor lives.
 */
export function fromTypedArray(data: TensorData, shape: readonly number[] = [data.length]): Tensor {
  return new Tensor(native().fromBytes(data, shape, dtypeOf(data), true))
}

/** All zeros. */
export function zeros(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return finish(make.zeros(shape, options.dtype ?? 'f32', options.device), options)
}

/** All ones. */
export function ones(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return finish(make.ones(shape, options.dtype ?? 'f32', options.device), options)
}

/** Every element `value`. */
export function full(shape: readonly number[], value: Scalar, options: TensorOptions = {}): Tensor {
  return finish(make.full(shape, value, options.dtype ?? 'f32', options.device), options)
}

/** Memory as it comes: every element must be written before it is read. */
export function empty(shape: readonly number[], options: TensorOptions = {}): Tensor {
  return finish(make.empty(shape, options.dtype ?? 'f32', options.device), options)
}

/** `start, start + step, ...` below `end`, or `0, 1, ...` below the one number; default dtype i64. */
export function arange(end: number): Tensor
export function arange(start: number, end: number, step?: number, options?: TensorOptions): Tensor
export function arange(first: number, second?: number, step = 1, options: TensorOptions = {}): Tensor {
  const [start, end] = second === undefined ? [0, first] : [first, second]
  return finish(make.arange(start, end, step, options.dtype ?? 'i64', options.device), options)
}

/** `steps` values evenly spaced from `start` to `end`, both included. */
export function linspace(start: number, end: number, steps: number, options: TensorOptions = {}): Tensor {
  return finish(make.linspace(start, end, steps, options.dtype ?? 'f32', options.device), options)
}

/** The identity matrix. */
export function eye(rows: number, columns = rows, options: TensorOptions = {}): Tensor {
  return finish(make.eye(rows, columns, options.dtype ?? 'f32', options.device), options)
}

/** Uniform on [0, 1). */
export function rand(shape: readonly number[], options: RandomOptions = {}): Tensor {
  return random(options, generator => make.rand(shape, generator, options.dtype ?? 'f32', options.device))
}

/** Standard normal. */
export function randn(shape: readonly number[], options: RandomOptions = {}): Tensor {
  return random(options, generator => make.randn(shape, generator, options.dtype ?? 'f32', options.device))
}

/** Integers uniform on [low, high); default dtype i64. */
export function randint(
  low: number,
  high: number,
  shape: readonly number[],
  options: RandomOptions = {},
): Tensor {
  return random(options, generator =>
    make.randint(low, high, shape, generator, options.dtype ?? 'i64', options.device),
  )
}

/** A random permutation of 0..n-1; default dtype i64. */
export function randperm(n: number, options: RandomOptions = {}): Tensor {
  return random(options, generator => make.randperm(n, generator, options.dtype ?? 'i64', options.device))
}

function random(options: RandomOptions, draw: (generator: Generator | null) => Tensor): Tensor {
  if ('seed' in options && options.seed !== undefined) {
    using generator = Generator.seeded(options.seed, options.device)
    return finish(draw(generator), options)
  }
  return finish(draw(('generator' in options && options.generator) || null), options)
}

function finish(made: Tensor, { dtype, device, requiresGrad = false }: TensorOptions): Tensor {
  const result = made.to({ dtype: dtype ?? made.dtype, device: device ?? made.device })
  return requiresGrad ? result.requiresGrad_() : result
}

function shapeOf(data: NestedData): number[] {
  return Array.isArray(data) ? [data.length, ...(data.length > 0 ? shapeOf(data[0]) : [])] : []
}

function mixed(first: Scalar, other: Scalar): TorchError {
  return new TorchError(
    `${typeof first} and ${typeof other} in one array: ${String(first)}, ${String(other)}`,
    {
      operator: 'tensor',
    },
  )
}

const scalarTypes = new Set(['number', 'boolean', 'bigint'])

const notScalar = (item: unknown): TorchError =>
  new TorchError(`'${String(item)}' is not a number, boolean or bigint`, { operator: 'tensor' })

/** Nested data as a flat typed array: u8 for booleans, i64 for bigints. Ragged nesting is an error. */
function flatten(data: NestedData): Uint8Array | BigInt64Array | Float64Array {
  const flat: Scalar[] = []
  const shape = shapeOf(data)
  const visit = (item: NestedData, dim: number): void => {
    const length = Array.isArray(item) ? item.length : undefined
    if (length !== shape[dim]) {
      throw new TorchError(
        `ragged array: ${length ?? 'a value'} where dimension ${dim} has ${shape[dim] ?? 'a value'}`,
        {
          operator: 'tensor',
        },
      )
    }
    if (Array.isArray(item)) for (const child of item) visit(child, dim + 1)
    else if (!scalarTypes.has(typeof item)) throw notScalar(item)
    else if (flat.length > 0 && typeof item !== typeof flat[0]) throw mixed(flat[0] as Scalar, item as Scalar)
    else flat.push(item as Scalar)
  }
  visit(data, 0)
  if (typeof flat[0] === 'bigint') return BigInt64Array.from(flat, BigInt)
  if (typeof flat[0] === 'boolean') return Uint8Array.from(flat, Number)
  return Float64Array.from(flat, Number)
}
