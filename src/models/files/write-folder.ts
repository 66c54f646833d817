// A model as a Hugging Face folder, from memory or from other files: any tool that reads its type reads the folder.

import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { writeDurably } from '../../files.ts'
import { byteLength, type TensorSource, writeSafetensors } from '../../formats/index.ts'
import type { Module } from '../../nn/index.ts'
import { type DType, itemSize } from '../../torch/index.ts'
import { declarationsOf, publishedPiecesOf } from '../architectures/create.ts'
import { wholePieces } from '../architectures/published-names.ts'
import { type AnyModelConfig, architectureOf } from '../architectures/table.ts'
import { ParameterReader, type ParameterSource, parametersOf } from './parameters.ts'
import type { ModelSource } from './source.ts'
import { tensorSource } from './tensor-file.ts'

export interface WriteFolderOptions {
  /**
   * Default: as the source has each tensor, quantized ones as bf16. Routers and the biases that select experts are not
   * narrowed: 256 biases that differ by 1e-4 would be 9 in bf16.
   */
  dtype?: 'f32' | 'bf16' | 'f16' | undefined
  /** Experts one by one as published files have them (default), or stacked as transformers 5 has them in memory. */
  experts?: 'published' | 'stacked'
  /** Most bytes of a file, unless one tensor is larger. Default: any number, in one file. */
  shardBytes?: number
  onProgress?: (fraction: number, tensor: string) => void
}

export interface WrittenFolder {
  bytes: number
  tensors: number
  files: number
}

/** config.json and weights. */
function writeFolder(
  folder: string,
  config: AnyModelConfig,
  parameters: ParameterSource,
  options: WriteFolderOptions = {},
): WrittenFolder {
  const { dtype, experts = 'published' } = options
  const declarations = declarationsOf(config)
  const pieces = experts === 'stacked' ? wholePieces(declarations) : publishedPiecesOf(config, declarations)
  const dtypeOf = (parameter: string): DType => {
    const stored = parameters.isDecoded(parameter) ? 'bf16' : parameters.dtypeOf(parameter)
    const wanted = dtype ?? stored
    const isNarrowed = itemSize[wanted] < itemSize[stored]
    return isNarrowed && declarations.get(parameter)?.role === 'router' ? stored : wanted
  }
  const tensors = pieces.map(piece =>
    tensorSource(piece.name, dtypeOf(piece.parameter), piece.shape, () =>
      parameters.part(piece).to(dtypeOf(piece.parameter)),
    ),
  )
  mkdirSync(folder, { recursive: true })
  const written = writeShards(folder, tensors, options)
  const json = architectureOf(config).toJson(config, hfDTypeOf(dtypeOf('model.norm.weight')))
  writeDurably(join(folder, 'config.json'), `${JSON.stringify(json, null, 2)}\n`)
  return { ...written, tensors: tensors.length }
}

/** Writes a model from other files, of which at most two parameters are in memory at a time. */
export function writeModelFolder(
  folder: string,
  source: ModelSource,
  options: WriteFolderOptions = {},
): WrittenFolder {
  using parameters = new ParameterReader(source)
  return writeFolder(folder, source.config, parameters, options)
}

/** Writes a model in memory. */
export function saveModel(
  folder: string,
  model: Module,
  config: AnyModelConfig,
  options: WriteFolderOptions = {},
): WrittenFolder {
  return writeFolder(folder, config, parametersOf(model), options)
}

/** What config.json calls a dtype. */
const hfDTypes: Partial<Record<DType, string>> = {
  f32: 'float32',
  f64: 'float64',
  bf16: 'bfloat16',
  f16: 'float16',
}

const hfDTypeOf = (dtype: DType): string => hfDTypes[dtype] ?? 'float32'

function writeShards(
  folder: string,
  tensors: readonly TensorSource[],
  { shardBytes = Number.POSITIVE_INFINITY, onProgress }: WriteFolderOptions,
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
