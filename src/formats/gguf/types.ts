// What a GGUF file holds: metadata with types, and tensors (ggml/docs/gguf.md).

import type { GgmlTypeName } from '../quantization/types.ts'

/** Types of metadata values, by their id. */
export const valueTypes = [
  'u8',
  'i8',
  'u16',
  'i16',
  'u32',
  'i32',
  'f32',
  'bool',
  'string',
  'array',
  'u64',
  'i64',
  'f64',
] as const

export type ValueType = (typeof valueTypes)[number]
export type ScalarType = Exclude<ValueType, 'array'>
export type Scalar = number | bigint | boolean | string

/** A metadata value with its type. 64-bit integers are bigint only where a number would lose digits. */
export type GgufValue =
  | { type: ScalarType; value: Scalar }
  | { type: 'array'; of: ScalarType; value: Scalar[] }

export type GgufMetadata = Map<string, GgufValue>

/** A tensor of a file. */
export interface GgufTensor {
  name: string
  type: GgmlTypeName
  /** As PyTorch has it, outermost first: the reverse of the file's order. */
  shape: number[]
  /** First byte, from the start of the file. */
  offset: number
  /** Length in bytes. */
  length: number
}
