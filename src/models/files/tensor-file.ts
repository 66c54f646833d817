// Tensors in safetensors files, whatever they mean.

import { FormatError } from '../../errors.ts'
import {
  readSafetensorsHeader,
  type SafetensorsDType,
  type TensorEntry,
  type TensorSource,
} from '../../formats/index.ts'
import { type DType, type MappedFile, mapFile, type Tensor, tidy } from '../../torch/index.ts'

const ourDTypes: Partial<Record<SafetensorsDType, DType>> = {
  F32: 'f32',
  F64: 'f64',
  F16: 'f16',
  BF16: 'bf16',
  I64: 'i64',
  I32: 'i32',
  I16: 'i16',
  I8: 'i8',
  U8: 'u8',
  BOOL: 'bool',
}

const fileDTypes = Object.fromEntries(
  Object.entries(ourDTypes).map(([file, ours]) => [ours, file]),
) as Record<DType, SafetensorsDType>

/** The dtype in memory of a file's; undefined for one that libtorch does not have. */
export function torchDTypeOf(dtype: SafetensorsDType): DType | undefined {
  return ourDTypes[dtype]
}

/** Files that are mapped when a tensor of theirs is first asked for, and closed together. */
export class MappedFiles {
  readonly #files = new Map<string, MappedFile>()

  /** A tensor on a file's own bytes. */
  tensor({ file, name, dtype, shape, offset }: TensorEntry & { file: string }): Tensor {
    const known = ourDTypes[dtype]
    if (!known) throw new FormatError(`tensor '${name}' is ${dtype}, which cannot be loaded`, { file })
    return this.at(file, offset, shape, known)
  }

  /** A tensor on the bytes of a file from `offset` on. */
  at(file: string, offset: number, shape: readonly number[], dtype: DType): Tensor {
    const mapped = this.#files.get(file) ?? mapFile(file)
    this.#files.set(file, mapped)
    return mapped.tensor(offset, shape, dtype)
  }

  /** See MappedFile.forgetPages(). */
  forgetPages(): void {
    for (const file of this.#files.values()) file.forgetPages()
  }

  [Symbol.dispose](): void {
    for (const file of this.#files.values()) file.close()
  }
}

/** Every tensor of a safetensors file by name, mapped: bytes are read when they are touched. */
export function openTensors(file: string): Map<string, Tensor> {
  using files = new MappedFiles()
  const entries = [...readSafetensorsHeader(file).tensors.values()]
  return new Map(entries.map(entry => [entry.name, files.tensor({ ...entry, file })]))
}

/** A tensor for writeSafetensors(); `view` is called when its turn comes. */
export function tensorSource(
  name: string,
  dtype: DType,
  shape: readonly number[],
  view: () => Tensor,
): TensorSource {
  return { name, shape, dtype: fileDTypes[dtype], bytes: () => tidy(() => tensorBytes(view())) }
}

/** A tensor for writeSafetensors(), as it is. */
export function wholeTensorSource(name: string, tensor: Tensor): TensorSource {
  return tensorSource(name, tensor.dtype, tensor.shape, () => tensor)
}

/** Elements as they stand in a file: little-endian, like every machine that libtorch runs on. */
export function tensorBytes(tensor: Tensor): Uint8Array {
  return tidy(() => {
    const isHalf = tensor.dtype === 'f16' || tensor.dtype === 'bf16'
    const data = (isHalf ? tensor.detach().contiguous().viewDtype('i16') : tensor).toTypedArray()
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  })
}
