// A model as a Hugging Face folder: other names, another dtype, other shards.

import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { writeDurably } from '../../files.ts'
import { byteLength, type TensorSource, writeSafetensors } from '../../formats/index.ts'
import type { DType } from '../../torch/index.ts'
import { wholePieces } from '../architecture.ts'
import { hfDTypeOf } from '../checkpoint.ts'
import type { ModelSource } from '../source.ts'
import { modelFileOf } from '../table.ts'
import { tensorSource } from '../tensor-file.ts'
import { ParameterReader } from './parameter-reader.ts'

export interface ToFolderOptions {
  /** Default: as the source has each tensor, quantized ones as bf16. */
  dtype?: 'f32' | 'bf16' | 'f16' | undefined
  /** Experts one by one as published files have them, or stacked as transformers 5 has them in memory. */
  experts: 'published' | 'stacked'
  /** Most bytes of a file, unless one tensor is larger. */
  shardBytes: number
  onProgress?: (fraction: number, tensor: string) => void
}

export interface WrittenFolder {
  bytes: number
  tensors: number
  files: number
}

/** Writes config.json and weights. In memory are at most two of the model's parameters. */
export function writeModelFolder(
  source: ModelSource,
  folder: string,
  options: ToFolderOptions,
): WrittenFolder {
  const { config } = source
  const file = modelFileOf(config)
  using reader = new ParameterReader(source)
  const pieces =
    options.experts === 'published'
      ? file.checkpointPieces(config)
      : wholePieces(file.parameterShapes(config))
  const dtypeOf = (parameter: string): DType => options.dtype ?? storedDType(reader, parameter)
  const tensors = pieces.map(piece =>
    tensorSource(piece.name, dtypeOf(piece.parameter), piece.shape, () =>
      reader.part(piece).to(dtypeOf(piece.parameter)),
    ),
  )
  mkdirSync(folder, { recursive: true })
  const main = dtypeOf('model.norm.weight')
  const written = writeShards(folder, tensors, options)
  writeDurably(
    join(folder, 'config.json'),
    `${JSON.stringify(file.toJson(config, hfDTypeOf(main)), null, 2)}\n`,
  )
  return { ...written, tensors: tensors.length }
}

function storedDType(reader: ParameterReader, parameter: string): DType {
  return reader.isDecoded(parameter) ? 'bf16' : reader.dtypeOf(parameter)
}

function writeShards(
  folder: string,
  tensors: readonly TensorSource[],
  { shardBytes, onProgress }: ToFolderOptions,
): { bytes: number; files: number } {
  const shards = inShards(tensors, shardBytes)
  const total = tensors.reduce((sum, tensor) => sum + sizeOf(tensor), 0)
  let done = 0
  const followed = (tensor: TensorSource): TensorSource => ({
    ...tensor,
    bytes: () => {
      onProgress?.(done / total, tensor.name)
      done += sizeOf(tensor)
      return tensor.bytes()
    },
  })
  const name = (i: number): string =>
    shards.length === 1
      ? 'model.safetensors'
      : `model-${padded(i + 1)}-of-${padded(shards.length)}.safetensors`
  const bytes = shards.map((shard, i) => writeSafetensors(join(folder, name(i)), shard.map(followed)))
  const index = join(folder, 'model.safetensors.index.json')
  rmSync(index, { force: true })
  if (shards.length > 1) {
    const weight_map = Object.fromEntries(
      shards.flatMap((shard, i) => shard.map(tensor => [tensor.name, name(i)])),
    )
    writeDurably(index, `${JSON.stringify({ metadata: { total_size: total }, weight_map }, null, 2)}\n`)
  }
  return { bytes: bytes.reduce((sum, size) => sum + size, 0), files: shards.length }
}

const padded = (number: number): string => String(number).padStart(5, '0')
const sizeOf = (tensor: TensorSource): number => byteLength(tensor.dtype, tensor.shape)

/** Tensors in the order of their names, a new shard where one would grow too large. */
function inShards(tensors: readonly TensorSource[], shardBytes: number): TensorSource[][] {
  const shards: TensorSource[][] = [[]]
  let size = 0
  for (const tensor of [...tensors].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const bytes = sizeOf(tensor)
    if (size > 0 && size + bytes > shardBytes) {
      shards.push([])
      size = 0
    }
    shards.at(-1)?.push(tensor)
    size += bytes
  }
  return shards
}
