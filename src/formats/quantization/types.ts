// GGUF's element types: how many values a block holds, in how many bytes (ggml.h, enum ggml_type), and what they mean.

import type { BlockRule } from './codec.ts'
import { q2_k, q3_k, q4_k, q5_k, q6_k } from './k-quants.ts'
import { mxfp4 } from './mxfp4.ts'
import { iq4_nl, iq4_xs } from './non-linear.ts'
import { q4_0, q4_1, q5_0, q5_1, q8_0 } from './simple.ts'

/** A type of tensor data. Whether its values can be decoded is another question; its size is known. */
export interface GgmlType {
  id: number
  /** Values per block; rows are whole blocks. */
  blockSize: number
  blockBytes: number
  /** Of quantized types. */
  rule?: BlockRule
}

/** Every type that current files hold, by the name that llama.cpp's tools print. */
export const ggmlTypes = {
  F32: { id: 0, blockSize: 1, blockBytes: 4 },
  F16: { id: 1, blockSize: 1, blockBytes: 2 },
  Q4_0: { id: 2, blockSize: 32, blockBytes: 18, rule: q4_0 },
  Q4_1: { id: 3, blockSize: 32, blockBytes: 20, rule: q4_1 },
  Q5_0: { id: 6, blockSize: 32, blockBytes: 22, rule: q5_0 },
  Q5_1: { id: 7, blockSize: 32, blockBytes: 24, rule: q5_1 },
  Q8_0: { id: 8, blockSize: 32, blockBytes: 34, rule: q8_0 },
  Q2_K: { id: 10, blockSize: 256, blockBytes: 84, rule: q2_k },
  Q3_K: { id: 11, blockSize: 256, blockBytes: 110, rule: q3_k },
  Q4_K: { id: 12, blockSize: 256, blockBytes: 144, rule: q4_k },
  Q5_K: { id: 13, blockSize: 256, blockBytes: 176, rule: q5_k },
  Q6_K: { id: 14, blockSize: 256, blockBytes: 210, rule: q6_k },
  IQ4_NL: { id: 20, blockSize: 32, blockBytes: 18, rule: iq4_nl },
  IQ4_XS: { id: 23, blockSize: 256, blockBytes: 136, rule: iq4_xs },
  I8: { id: 24, blockSize: 1, blockBytes: 1 },
  I16: { id: 25, blockSize: 1, blockBytes: 2 },
  I32: { id: 26, blockSize: 1, blockBytes: 4 },
  I64: { id: 27, blockSize: 1, blockBytes: 8 },
  F64: { id: 28, blockSize: 1, blockBytes: 8 },
  BF16: { id: 30, blockSize: 1, blockBytes: 2 },
  MXFP4: { id: 39, blockSize: 32, blockBytes: 17, rule: mxfp4 },
} as const satisfies Record<string, GgmlType>

export type GgmlTypeName = keyof typeof ggmlTypes

const byId = new Map<number, GgmlTypeName>(
  Object.entries(ggmlTypes).map(([name, { id }]) => [id, name as GgmlTypeName]),
)

/** The type of an id; undefined for one that is not known. */
export function ggmlTypeOf(id: number): GgmlTypeName | undefined {
  return byId.get(id)
}

/** Bytes of a tensor whose rows have `rowLength` values; rows must be whole blocks. */
export function ggmlByteLength(type: GgmlTypeName, rowLength: number, rows: number): number {
  const { blockSize, blockBytes } = ggmlTypes[type]
  return (rowLength / blockSize) * blockBytes * rows
}
