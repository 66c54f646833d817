// How a cache keeps rows of keys and values: as numbers of a type, or in quantized blocks.
// Shapes: N rows, G heads, D width of a head's row, E elements that it is kept in.

import { ConfigError } from '../../errors.ts'
import { cat, type DType, dequantizeBlocks, quantizeBlocks, type Tensor, zeros } from '../../torch/index.ts'
import type { CacheShape, CachingModel } from './kv-store.ts'

/** A way to keep rows; every head's is kept for itself. */
export interface KvForm {
  /** Of the elements. */
  readonly dtype: DType
  /** Bytes that an element takes. */
  readonly bytes: number
  /** E of a row of `width` numbers. */
  elements(width: number): number
  /** [N, G*D] -> [N, G*E] */
  encode(rows: Tensor, width: number): Tensor
  /** [..., E] -> [..., D], the numbers that encode() has left of them, in `dtype`. */
  decode(rows: Tensor, width: number, dtype: DType): Tensor
}

const numbers = (dtype: DType, bytes: number): KvForm => ({
  dtype,
  bytes,
  elements: width => width,
  encode: rows => rows.to(dtype),
  decode: (rows, _, wanted) => rows.to(wanted),
})

const [blockSize, blockBytes] = [32, 34] // Q8_0: an f16 scale and 32 8-bit numbers
const blocksOf = (width: number): number => Math.ceil(width / blockSize)
const bytesOf = (width: number): number => blocksOf(width) * blockBytes

/** A head's row is whole blocks, so that no block is of two heads: where its width is no multiple of 32, zeros fill the last. */
const q8_0: KvForm = {
  dtype: 'u8',
  bytes: 1,
  elements: bytesOf,
  encode(rows, width) {
    const heads = rows.reshape([-1, width]) // [N * G, D]
    const spare = blocksOf(width) * blockSize - width
    const filled = spare === 0 ? heads : cat([heads, zeros([heads.size(0), spare])], 1)
    const blocks = quantizeBlocks(filled.contiguous().flatten(), 'Q8_0')
    return blocks.view([rows.size(0), (rows.size(1) / width) * bytesOf(width)])
  },
  decode(rows, width, wanted) {
    const filled = dequantizeBlocks(rows.contiguous().flatten(), 'Q8_0')
    const shape = [...rows.shape.slice(0, -1), blocksOf(width) * blockSize]
    return filled.view(shape).narrow(-1, 0, width).to(wanted)
  },
}

const forms = {
  f32: numbers('f32', 4),
  f64: numbers('f64', 8),
  bf16: numbers('bf16', 2),
  f16: numbers('f16', 2),
  q8_0,
} as const satisfies Record<string, KvForm>

/** What keys and values are kept in; q8_0 is GGUF's Q8_0, 34 bytes for 32 numbers. */
export type KvType = keyof typeof forms

/** Those that attention in f32 on a CPU reads, too. */
const encodings: readonly KvType[] = ['f16', 'q8_0']

export const kvFormOf = (type: KvType): KvForm => forms[type]

/** Bytes of a token's keys and values in one layer. */
export function kvBytes({ keys, values }: CacheShape, type: KvType): number {
  const form = forms[type]
  const of = ([heads, width]: readonly [number, number]): number => heads * form.elements(width) * form.bytes
  return of(keys) + (values ? of(values) : 0)
}

/**
 * The type that a model's keys and values are kept in.
 *
 * @param wanted default: what the model computes in
 * @throws ConfigError for one that attention does not read beside the model's own
 */
export function kvTypeFor(
  { dtype, device }: Pick<CachingModel, 'dtype' | 'device'>,
  wanted?: KvType,
): KvType {
  if (wanted === undefined || wanted === dtype) return dtype as KvType
  if (dtype === 'f32' && device === 'cpu' && encodings.includes(wanted)) return wanted
  throw new ConfigError(
    `${wanted} is not for a model that computes in ${dtype} on ${device}: leave it out (f16 and q8_0 are for f32 on a CPU)`,
    { path: 'kv' },
  )
}
