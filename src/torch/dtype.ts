// Element types, by the short names used throughout.

import { TorchError } from '../errors.ts'

/** f16 and bf16 are storage types on a CPU with libtorch 1.13: widen to f32 to compute. */
export type DType = 'f32' | 'f64' | 'f16' | 'bf16' | 'i8' | 'u8' | 'i16' | 'i32' | 'i64' | 'bool'

/** Where a tensor lives. */
export type Device = 'cpu' | 'cuda' | `cuda:${number}`

/** A number argument of an operator. Whole numbers count as integers. */
export type Scalar = number | bigint | boolean

/** Bytes per element. */
export const itemSize: Readonly<Record<DType, number>> = {
  f32: 4,
  f64: 8,
  f16: 2,
  bf16: 2,
  i8: 1,
  u8: 1,
  i16: 2,
  i32: 4,
  i64: 8,
  bool: 1,
}

/** The typed arrays tensors convert to: f16 and bf16 are widened to f32, bool is 0 or 1. */
export interface ArrayOf {
  f32: Float32Array
  f64: Float64Array
  f16: Float32Array
  bf16: Float32Array
  i8: Int8Array
  u8: Uint8Array
  i16: Int16Array
  i32: Int32Array
  i64: BigInt64Array
  bool: Uint8Array
}

export type TensorData = ArrayOf[DType]

/** A new typed array that holds `length` elements of `dtype`, or of what it widens to. */
export function arrayFor(dtype: DType, buffer: ArrayBuffer): TensorData {
  switch (dtype) {
    case 'f32':
    case 'f16':
    case 'bf16':
      return new Float32Array(buffer)
    case 'f64':
      return new Float64Array(buffer)
    case 'i8':
      return new Int8Array(buffer)
    case 'u8':
    case 'bool':
      return new Uint8Array(buffer)
    case 'i16':
      return new Int16Array(buffer)
    case 'i32':
      return new Int32Array(buffer)
    case 'i64':
      return new BigInt64Array(buffer)
  }
}

/** The dtype whose elements a typed array holds. */
export function dtypeOf(data: TensorData): DType {
  if (data instanceof Float32Array) return 'f32'
  if (data instanceof Float64Array) return 'f64'
  if (data instanceof Int8Array) return 'i8'
  if (data instanceof Uint8Array) return 'u8'
  if (data instanceof Int16Array) return 'i16'
  if (data instanceof Int32Array) return 'i32'
  if (data instanceof BigInt64Array) return 'i64'
  const name = (data as object).constructor.name
  throw new TorchError(`no dtype holds what a ${name} does: convert it first`, {
    operator: 'tensor',
    args: [name],
  })
}

export function isFloating(dtype: DType): boolean {
  return dtype === 'f32' || dtype === 'f64' || dtype === 'f16' || dtype === 'bf16'
}
