// Tensors as files store them, plain or quantized: their raw bytes, and what libtorch computes with.
// Shapes: E slices of a stack, R rows, C columns.

import { FormatError } from '../../errors.ts'
import type { GgmlTypeName, GgufHeader, GgufTensor } from '../../formats/index.ts'
import {
  type DType,
  dequantizeFloat8,
  dequantizePairs,
  packedRows,
  stack,
  type Tensor,
  tidy,
} from '../../torch/index.ts'
import { canDequantize, dequantize } from './dequantize.ts'
import type { TensorLocation } from './folder.ts'
import { type MappedFiles, torchDTypeOf } from './tensor-file.ts'

/** Bytes of a file. */
export interface ByteRange {
  file: string
  offset: number
  length: number
}

/** A tensor of a model's files, whatever its encoding. */
export interface StoredTensor {
  name: string
  file: string
  /** Of the decoded values. */
  shape: readonly number[]
  /** How it is stored: a dtype of safetensors or a GGML type. */
  encoding: string
  /** The dtype of a tensor that can be mapped as it is; null: it has to be decoded. */
  dtype: DType | null
  /** How kernels know its rows: a GGML type, `F32`, `BF16`, `F16` or `F8_E4M3_B128`; null: they do not. */
  rowEncoding: string | null
  /** Whether such rows have to be packed first, of values and scales that lie apart. */
  isApart: boolean
  /** False for an encoding that is not understood. */
  isReadable: boolean
  /**
   * Where its bytes lie, as encoded: values, or blocks and then scales where these are apart. With an index those of
   * one slice of the first dimension alone, as one expert of a stack.
   */
  ranges(index?: number): ByteRange[]
  /** Its rows as `rowEncoding` says, u8 [..., rows, bytes of a row]: a view of the file where they lie there so. */
  rows(files: MappedFiles): Tensor
  /** The whole tensor; a view of the file where nothing has to be decoded. */
  read(files: MappedFiles): Tensor
  /** The slice `index` of the first dimension, without decoding the others. */
  readSlice(files: MappedFiles, index: number): Tensor
}

/** The bytes of a range as they are, u8 [length]: a view of the file. */
export function rawBytes(files: MappedFiles, { file, offset, length }: ByteRange): Tensor {
  return files.at(file, offset, [length], 'u8')
}

/** A part of a tensor's bytes: all, or one of the slices of the first dimension, which are equally long. */
function rangeOf({ file, offset, length }: ByteRange, slices: number | undefined, index?: number): ByteRange {
  if (index === undefined) return { file, offset, length }
  const each = length / (slices || 1)
  return { file, offset: offset + index * each, length: each }
}

/** Rows of f64 are numbers as they are. */
const rowEncodingOf = (encoding: string): string | null =>
  ['F32', 'BF16', 'F16'].includes(encoding) || canDequantize(encoding as GgmlTypeName) ? encoding : null

/** A model folder's tensors by name, quantized ones as the tensors that they stand for. */
export function storedTensors(located: ReadonlyMap<string, TensorLocation>): Map<string, StoredTensor> {
  const stored = new Map<string, StoredTensor>()
  for (const location of located.values()) {
    const tensor = quantized(location, located) ?? plain(location)
    if (tensor !== 'part of another') stored.set(tensor.name, tensor)
  }
  return stored
}

/** Rows that lie one after the other. */
const wholeRows = (files: MappedFiles, range: ByteRange, shape: readonly number[]): Tensor =>
  rawBytes(files, range).view([...shape.slice(0, -1), -1])

function plain(location: TensorLocation): StoredTensor {
  const { name, file, shape, dtype } = location
  return {
    name,
    file,
    shape,
    encoding: dtype,
    dtype: torchDTypeOf(dtype) ?? null,
    rowEncoding: location.offset % 2 === 0 ? rowEncodingOf(dtype) : null, // halves lie at even addresses
    isReadable: torchDTypeOf(dtype) !== undefined,
    isApart: false,
    ranges: index => [rangeOf(location, shape[0], index)],
    rows: files => wholeRows(files, location, shape),
    read: files => files.tensor(location),
    readSlice: (files, index) => files.tensor(location).select(0, index),
  }
}

/** What a tensor and its companions stand for; null for one that stands for itself. */
function quantized(
  location: TensorLocation,
  located: ReadonlyMap<string, TensorLocation>,
): StoredTensor | 'part of another' | null {
  const { name, dtype } = location
  const ownerOf = (suffix: string, ending: string): TensorLocation | undefined =>
    name.endsWith(suffix) ? located.get(name.slice(0, -suffix.length) + ending) : undefined
  if (ownerOf('_scale_inv', '')?.dtype === 'F8_E4M3' || ownerOf('_scales', '_blocks'))
    return 'part of another'
  if (dtype === 'F8_E4M3') {
    const scales = located.get(`${name}_scale_inv`)
    return scales ? blockScaledFloat8(location, scales) : null
  }
  const scales = name.endsWith('_blocks') ? located.get(name.replace(/_blocks$/, '_scales')) : undefined
  return scales ? mxfp4Stack(location, scales) : null
}

/** Rows of f32 scales, each before 128 values. */
export const float8Rows = { encoding: 'F8_E4M3_B128', blockSize: 128, blockBytes: 132 } as const

/** DeepSeek-V3's: `w = f8 * scale`, a scale for each block of rows and columns (128 x 128). */
function blockScaledFloat8(location: TensorLocation, scales: TensorLocation): StoredTensor {
  const { name, file, shape } = location
  if (shape.length !== 2 || scales.shape.length !== 2 || !fitsBlocks(shape, scales.shape)) {
    throw new FormatError(
      `tensor '${name}' [${shape}] does not fit the scales '${scales.name}' [${scales.shape}]: blocks are of 128 by 128`,
      { file },
    )
  }
  const read = (files: MappedFiles): Tensor =>
    tidy(() =>
      dequantizeFloat8(
        files.at(file, location.offset, shape, 'u8').contiguous(),
        files.tensor(scales).to('f32').contiguous(),
      ),
    )
  const isOfBlocks = (shape[1] as number) % 128 === 0 && scales.dtype === 'F32'
  const rowEncoding = isOfBlocks ? float8Rows.encoding : null
  return {
    ...{ name, file, shape, encoding: 'F8_E4M3', dtype: null, rowEncoding, isReadable: true, read },
    isApart: true,
    ranges: () => [rangeOf(location, 1), rangeOf(scales, 1)], // rows of a block share scales
    rows: files => packed(files, [location, scales], shape, float8Rows.encoding),
    readSlice: (files, index) => tidy(() => read(files).select(0, index)),
  }
}

/** Values and scales as rows that have both: a copy. */
function packed(
  files: MappedFiles,
  [values, scales]: readonly [ByteRange, ByteRange],
  shape: readonly number[],
  packing: string,
): Tensor {
  const outer = shape.slice(0, -1)
  const rows = outer.reduce((product, size) => product * size, 1)
  return tidy(() =>
    packedRows(rawBytes(files, values).view([rows, -1]), rawBytes(files, scales), packing).view([
      ...outer,
      -1,
    ]),
  )
}

const fitsBlocks = (shape: readonly number[], scales: readonly number[]): boolean =>
  shape.every((size, i) => Math.ceil(size / 128) === scales[i])

/** gpt-oss's: stacked matrices whose rows are blocks of 32. */
function mxfp4Stack(blocks: TensorLocation, scales: TensorLocation): StoredTensor {
  const { file } = blocks
  const [experts = 0, rows = 0, perRow = 0, bytes] = blocks.shape
  const areBytes = blocks.dtype === 'U8' && scales.dtype === 'U8'
  if (
    !areBytes ||
    blocks.shape.length !== 4 ||
    bytes !== 16 ||
    scales.shape.join() !== [experts, rows, perRow].join()
  ) {
    throw new FormatError(
      `tensor '${blocks.name}' [${blocks.shape}] and '${scales.name}' [${scales.shape}] are no MXFP4 blocks and scales, which are bytes`,
      { file },
    )
  }
  const columns = perRow * 32
  const readSlice = (files: MappedFiles, index: number): Tensor =>
    tidy(() => {
      const of = (location: TensorLocation): Tensor => files.tensor(location).select(0, index).contiguous()
      return dequantizePairs(of(blocks), of(scales)).view([rows, columns])
    })
  return {
    ...{ name: blocks.name, file, shape: [experts, rows, columns], encoding: 'MXFP4', dtype: null },
    ...{ rowEncoding: 'MXFP4', isApart: true, isReadable: true },
    ranges: index => [rangeOf(blocks, experts, index), rangeOf(scales, experts, index)],
    rows: files => packed(files, [blocks, scales], [experts, rows, columns], 'MXFP4'),
    read: files => tidy(() => stackSlices(experts, index => readSlice(files, index))),
    readSlice,
  }
}

function stackSlices(count: number, slice: (index: number) => Tensor): Tensor {
  return stack(Array.from({ length: count }, (_, index) => slice(index)))
}

/** The tensors of a GGUF file, or of all parts of a split one. */
export function ggufTensors(parts: ReadonlyMap<string, GgufHeader>): Map<string, StoredTensor> {
  const stored = new Map<string, StoredTensor>()
  for (const [file, { tensors }] of parts) {
    for (const entry of tensors.values()) {
      if (stored.has(entry.name))
        throw new FormatError(`tensor '${entry.name}' is in another part too`, { file })
      stored.set(entry.name, ggufTensor(file, entry))
    }
  }
  return stored
}

const ggufDTypes: Partial<Record<GgmlTypeName, DType>> = {
  F32: 'f32',
  F64: 'f64',
  F16: 'f16',
  BF16: 'bf16',
  I8: 'i8',
  I16: 'i16',
  I32: 'i32',
  I64: 'i64',
}

function ggufTensor(file: string, { name, type, shape, offset, length }: GgufTensor): StoredTensor {
  const dtype = ggufDTypes[type] ?? null
  const ranges = (index?: number): ByteRange[] => [rangeOf({ file, offset, length }, shape[0], index)]
  const part = (files: MappedFiles, shape: readonly number[], index?: number): Tensor => {
    const [range] = ranges(index) as [ByteRange]
    if (dtype !== null) return files.at(file, range.offset, shape, dtype)
    return tidy(() => dequantize(rawBytes(files, range), type).view(shape))
  }
  return {
    ...{ name, file, shape, encoding: type, dtype, ranges, rowEncoding: rowEncodingOf(type), isApart: false },
    rows: files => wholeRows(files, { file, offset, length }, shape),
    isReadable: dtype !== null || canDequantize(type),
    read: files => part(files, shape),
    readSlice: (files, index) => part(files, shape.slice(1), index),
  }
}
