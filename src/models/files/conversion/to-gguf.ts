// A model as a GGUF file.

import type { GgmlTypeName, GgufMetadata, GgufTensorSource } from '../../../formats/index.ts'
import { writeGguf } from '../../../formats/index.ts'
import { MetadataWriter, writeDecoderFields } from '../../architectures/gguf/metadata.ts'
import { ggufRowOf } from '../../architectures/gguf/table.ts'
import { requireDecoder } from '../../architectures/table.ts'
import { ParameterReader, type ParameterSource } from '../parameters.ts'
import type { ModelSource } from '../source.ts'
import { type BlockEncoder, encodeTensor } from './encode.ts'
import { type GgufModelTensor, ggufTensorsOf, ggufValues } from './gguf-tensors.ts'
import { type TypeRules, typesByRules } from './type-rules.ts'

export interface ToGgufOptions {
  /** Types by what tensors are for, or a choice for each. */
  rules: TypeRules | ((tensor: GgufModelTensor) => GgmlTypeName)
  /** Default: roundToNearest. */
  encoder?: BlockEncoder
  /** `general.name` of the file. */
  name: string
  /** Metadata of the tokenizer; see tokenizerMetadata(). */
  tokenizer: GgufMetadata
  /** Called with the share of bytes that is written, and what is next. */
  onProgress?: (fraction: number, tensor: string) => void
}

export interface WrittenGguf {
  bytes: number
  tensors: number
  /** Tensors by type. */
  types: Partial<Record<GgmlTypeName, number>>
}

/**
 * Writes a model in one file. In memory are at most two of its parameters (a layer's stacked experts are one), in the
 * type in which the source has them.
 *
 * @throws ConfigError for a model that the format cannot describe
 */
export function writeGgufModel(source: ModelSource, file: string, options: ToGgufOptions): WrittenGguf {
  const config = requireDecoder(source.config, source.path)
  const row = ggufRowOf(config)
  const writer = new MetadataWriter(row.name)
  writeDecoderFields(writer, config)
  row.writeFields(writer, config)
  const pieces = ggufTensorsOf(source)
  const { rules } = options
  const types = pieces.map(typeof rules === 'function' ? rules : typesByRules(rules))
  using reader = new ParameterReader(source)
  const metadata = describe(writer.entries, types, options)
  const total = pieces.reduce((sum, { shape }) => sum + elements(shape), 0)
  let done = 0
  const tensors = pieces.map((piece, i): GgufTensorSource => {
    const type = types[i] ?? 'F32'
    return {
      name: piece.name,
      type,
      shape: piece.shape,
      *chunks() {
        options.onProgress?.(done / total, piece.name)
        yield* bytesOf(reader, piece, type, options.encoder)
        done += elements(piece.shape)
      },
    }
  })
  return { bytes: writeGguf(file, metadata, tensors), tensors: tensors.length, types: tally(types) }
}

function* bytesOf(
  reader: ParameterSource,
  piece: GgufModelTensor,
  type: GgmlTypeName,
  encoder?: BlockEncoder,
): Generator<Uint8Array> {
  const values = ggufValues(reader, piece)
  try {
    yield* encodeTensor(values, type, piece.name, encoder)
  } finally {
    values.dispose()
  }
}

/** llama.cpp's numbers for what most of a file is (llama.h, enum llama_ftype). */
const fileTypes: Partial<Record<GgmlTypeName, number>> = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q8_0: 7,
  Q2_K: 10,
  Q3_K: 12,
  Q4_K: 15,
  Q5_K: 17,
  Q6_K: 18,
  IQ4_NL: 25,
  IQ4_XS: 30,
  BF16: 32,
  MXFP4: 38,
}

function describe(
  fields: GgufMetadata,
  types: readonly GgmlTypeName[],
  { name, tokenizer }: ToGgufOptions,
): GgufMetadata {
  const counts = Object.entries(tally(types)).sort((a, b) => b[1] - a[1])
  const main = (counts.find(([type]) => type !== 'F32')?.[0] ?? 'F32') as GgmlTypeName
  return new Map([
    ...fields,
    ['general.name', { type: 'string', value: name }],
    ['general.file_type', { type: 'u32', value: fileTypes[main] ?? 0 }],
    ['general.quantization_version', { type: 'u32', value: 2 }],
    ...tokenizer,
  ])
}

function tally(types: readonly GgmlTypeName[]): Partial<Record<GgmlTypeName, number>> {
  const counts: Partial<Record<GgmlTypeName, number>> = {}
  for (const type of types) counts[type] = (counts[type] ?? 0) + 1
  return counts
}

const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)
