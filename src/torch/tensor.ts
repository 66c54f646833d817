// Tensor: a handle on one native reference, with libtorch's operators as methods (generated/methods.ts).

import { TorchError } from '../errors.ts'
import {
  type ArrayOf,
  arrayFor,
  type Device,
  type DType,
  isFloating,
  itemSize,
  type TensorData,
} from './dtype.ts'
import { TensorMethods } from './generated/methods.ts'
import { type Handle, native } from './native.ts'
import { Operator } from './operator.ts'
import { formatTensor } from './print.ts'
import { leaveToCollector, scopeDepth } from './scopes.ts'

const backward = new Operator('aten::_backward')
const detach = new Operator('aten::detach')

/** `retainGraph` allows another backward; `createGraph` records this one. */
export interface BackwardOptions {
  createGraph?: boolean
  retainGraph?: boolean
}

/** Nested numbers, as `tolist()` gives them. */
export type NestedNumbers = number | NestedNumbers[]

/** The handle of a tensor that has no memory yet. */
export const unmade: Handle = -1

/**
 * An n-dimensional array on a device, recorded for backward when one of its sources requires a gradient.
 *
 * Made by functions such as `tensor()`, `zeros()` and `randn()`, and by operators. Freed by the `tidy()` it was made
 * in, by `dispose()`, or by the garbage collector.
 */
export class Tensor extends TensorMethods {
  /** The native reference; it changes only when a tensor without memory gets it. */
  handle: Handle

  constructor(handle: Handle) {
    super()
    this.handle = handle
    if (scopeDepth === 0 && handle !== unmade) leaveToCollector(this, handle)
  }

  protected override wrap(handle: Handle): Tensor {
    return new Tensor(handle)
  }

  get shape(): number[] {
    return native().sizes(this.handle)
  }

  get dtype(): DType {
    return native().dtype(this.handle) as DType
  }

  get device(): Device {
    return native().device(this.handle) as Device
  }

  /** Number of dimensions. */
  get ndim(): number {
    return this.shape.length
  }

  /** Number of elements. */
  get numel(): number {
    return native().numel(this.handle)
  }

  /** Elements between neighbours, per dimension. */
  get strides(): number[] {
    return native().strides(this.handle)
  }

  get isContiguous(): boolean {
    return native().isContiguous(this.handle)
  }

  get requiresGrad(): boolean {
    return native().requiresGrad(this.handle)
  }

  /** Whether the user made it (true) or a recorded operator (false). */
  get isLeaf(): boolean {
    return native().isLeaf(this.handle)
  }

  /** The size of one dimension; negative counts from the end. */
  size(dim: number): number {
    const { shape } = this
    const size = shape[dim < 0 ? dim + shape.length : dim]
    if (size === undefined) {
      throw new TorchError(`dimension ${dim} does not exist in ${this.describe()}`, { operator: 'size' })
    }
    return size
  }

  /** The gradient of a leaf after `backward()`, or null. */
  get grad(): Tensor | null {
    const handle = native().grad(this.handle)
    return handle === null ? null : new Tensor(handle)
  }

  set grad(gradient: Tensor | null) {
    native().setGrad(this.handle, gradient === null ? null : gradient.handle)
  }

  /**
   * Adds the gradient of this tensor with respect to each leaf into the leaf's `grad`.
   *
   * @param gradient weight of each element; may be left out for a scalar
   */
  backward(
    gradient: Tensor | null = null,
    { createGraph = false, retainGraph = createGraph }: BackwardOptions = {},
  ): void {
    // A nullary list of inputs means every leaf.
    native().call(backward.id, this.handle, [], gradient?.handle ?? null, retainGraph, createGraph)
  }

  /** The value of a tensor with one element; booleans become 0 or 1. */
  item(): number {
    return Number(native().item(this.handle))
  }

  /** A copy of the elements, row-major, as the typed array of the dtype. */
  toTypedArray<D extends DType = DType>(): ArrayOf[D] {
    const { dtype } = this
    const source = dtype === 'f16' || dtype === 'bf16' ? this.to('f32') : this
    const data = arrayFor(dtype, new ArrayBuffer(this.numel * itemSize[source.dtype]))
    native().copyTo(source.handle, data)
    return data as ArrayOf[D]
  }

  /**
   * The tensor's own memory as a typed array, without a copy: writing to one changes the other. The array owns a
   * reference, so it stays valid after the tensor is disposed. CPU, contiguous, and not f16 or bf16.
   */
  asTypedArray<D extends DType = DType>(): ArrayOf[D] {
    const { dtype } = this
    if (dtype === 'f16' || dtype === 'bf16') {
      throw new TorchError(`${dtype} has no typed array: use toTypedArray(), which widens`, {
        operator: 'asTypedArray',
        args: [this.describe()],
      })
    }
    return arrayFor(dtype, native().share(this.handle)) as ArrayOf[D]
  }

  /** The elements as nested arrays of numbers; a plain number for a scalar. */
  tolist(): NestedNumbers {
    return nest(Array.from<number | bigint, number>(this.toTypedArray(), Number), this.shape)
  }

  /** Converts dtype, device or both. Returns this tensor when nothing changes. */
  to(target: DType | Device | { dtype?: DType; device?: Device }): Tensor {
    const { dtype, device } = typeof target === 'string' ? parseTarget(target) : target
    const isThere = device === undefined || device === this.device || this.device.startsWith(`${device}:`)
    return isThere && (dtype ?? this.dtype) === this.dtype ? this : this.toCopy(dtype, device)
  }

  /** This tensor in f32. */
  float(): Tensor {
    return this.to('f32')
  }

  /** This tensor in f64. */
  double(): Tensor {
    return this.to('f64')
  }

  /** This tensor in i64, as indices are. */
  long(): Tensor {
    return this.to('i64')
  }

  /** Whether the dtype is a floating-point one. */
  get isFloating(): boolean {
    return isFloating(this.dtype)
  }

  /** Another native reference to the same data, outside of its graph, for the constructor of a subclass. */
  newHandle(): Handle {
    return native().call(detach.id, this.handle) as Handle
  }

  /** Takes the tensor out of its tidy() scope: from here its owner disposes it. Returns this. */
  persist(): this {
    native().persist(this.handle)
    leaveToCollector(this, this.handle)
    return this
  }

  /** Frees the reference now. Using the tensor afterwards throws DisposedTensorError; disposing again does not. */
  dispose(): void {
    native().release(this.handle)
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  get isDisposed(): boolean {
    return !native().alive(this.handle)
  }

  /** Whether two tensors are views of the same memory. */
  sharesStorageWith(other: Tensor): boolean {
    return native().storageId(this.handle) === native().storageId(other.handle)
  }

  /** `f32[2, 3]` */
  describe(): string {
    return native().describe(this.handle)
  }

  override toString(): string {
    return this.isDisposed ? 'Tensor(disposed)' : formatTensor(this)
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString()
  }
}

function parseTarget(target: DType | Device): { dtype?: DType; device?: Device } {
  return target in itemSize ? { dtype: target as DType } : { device: target as Device }
}

function nest(flat: number[], shape: readonly number[]): NestedNumbers {
  const [size, ...rest] = shape
  if (size === undefined) return flat[0] ?? Number.NaN
  if (rest.length === 0) return flat
  const stride = rest.reduce((a, b) => a * b, 1)
  return Array.from({ length: size }, (_, i) => nest(flat.slice(i * stride, (i + 1) * stride), rest))
}

export type { TensorData }
