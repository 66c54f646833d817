// What each matrix of a model would lose in each type: the costs that a plan chooses by.

import { codecs, type GgmlTypeName, ggmlByteLength, ggmlTypes } from '../../formats/index.ts'
import {
  type GgufModelTensor,
  ggufValues,
  isVector,
  type ModelSource,
  ParameterReader,
  visitRows,
} from '../../models/index.ts'
import { encoderOf } from './encoder.ts'
import { ErrorSum } from './error.ts'
import type { ImportanceOf } from './importance-of.ts'

/** Tensors of a file that get one type: what is one parameter in memory is computed by one kernel. */
export interface TensorGroup {
  tensors: readonly GgufModelTensor[]
  options: TypeOption[]
}

export interface TypeOption {
  type: GgmlTypeName
  bytes: number
  /** See ErrorSum; of a group's tensors together. */
  error: number
}

export interface SensitivityOptions {
  importanceOf: ImportanceOf
  /** Called with the share of values that is measured, and what is next. */
  onProgress?: (fraction: number, tensor: string) => void
}

/** Tensors whose type is never a choice: routers decide by small differences, and vectors are small. */
export const isAlwaysF32 = ({ declaration, shape }: GgufModelTensor): boolean =>
  declaration.role === 'router' || isVector(declaration, shape)

/**
 * Tensors whose type is chosen, by parameter, and what each may become of `types`: those that its rows are whole blocks of,
 * or else F16. Errors are yet to be measured.
 */
export function groupsOf(tensors: readonly GgufModelTensor[], types: readonly GgmlTypeName[]): TensorGroup[] {
  const groups = new Map<string, GgufModelTensor[]>()
  for (const tensor of tensors) {
    if (isAlwaysF32(tensor)) continue
    groups.set(tensor.parameter, [...(groups.get(tensor.parameter) ?? []), tensor])
  }
  const headRole = tensors.some(({ declaration }) => declaration.role === 'head') ? 'head' : 'embedding'
  return [...groups.values()].map(group => {
    const scores = group.some(({ declaration }) => declaration.role === headRole)
    return { tensors: group, options: optionsFor(group, types, scores) }
  })
}

/** Rounds every group to every type that it may become, and measures. One parameter is in memory at a time. */
export function measureSensitivity(
  source: ModelSource,
  groups: readonly TensorGroup[],
  { importanceOf, onProgress }: SensitivityOptions,
): TensorGroup[] {
  using reader = new ParameterReader(source)
  const total = groups.flatMap(group => group.tensors).reduce((sum, { shape }) => sum + elements(shape), 0)
  let done = 0
  return groups.map(({ tensors, options }) => {
    const sums = options.map(() => new ErrorSum())
    for (const tensor of tensors) {
      onProgress?.(done / total, tensor.name)
      measureTensor(reader, tensor, options, sums, importanceOf)
      done += elements(tensor.shape)
    }
    return { tensors, options: options.map((option, i) => ({ ...option, error: sums[i]?.relative ?? 0 })) }
  })
}

/** Adds what a tensor loses in each type; plain ones lose next to nothing. */
function measureTensor(
  reader: ParameterReader,
  tensor: GgufModelTensor,
  options: readonly TypeOption[],
  sums: readonly ErrorSum[],
  importanceOf: ImportanceOf,
): void {
  const encoder = encoderOf(importanceOf)
  const values = ggufValues(reader, tensor)
  const visits = visitRows(values, (part, matrix) => {
    const rows = part.to('f32').contiguous()
    for (const [i, { type }] of options.entries()) {
      if (!codecs[type]) continue
      const bytes = encoder(rows, type, { tensor: tensor.name, matrix })
      sums[i]?.add(rows, bytes, type, importanceOf(tensor.name).weightOf(matrix))
    }
  })
  for (const _ of visits);
  values.dispose()
}

/** What the head errs goes into the logits undiluted, by no residual stream: llama.cpp's mixes keep it at Q6_K, too. */
const leastHeadBits = 6

const bitsOf = (type: GgmlTypeName): number => (8 * ggmlTypes[type].blockBytes) / ggmlTypes[type].blockSize

/** @param scores whether the group is what scores tokens */
function optionsFor(
  group: readonly GgufModelTensor[],
  types: readonly GgmlTypeName[],
  scores: boolean,
): TypeOption[] {
  const fitting = types.filter(type =>
    group.every(({ shape }) => (shape.at(-1) ?? 1) % ggmlTypes[type].blockSize === 0),
  )
  const bytesIn = (type: GgmlTypeName): number =>
    group.reduce((sum, { shape }) => sum + bytesOf(type, shape), 0)
  const fine = scores ? fitting.filter(type => bitsOf(type) >= leastHeadBits) : fitting
  const candidates: readonly GgmlTypeName[] = [fine, fitting].find(({ length }) => length > 0) ?? ['F16']
  return candidates.map(type => ({ type, bytes: bytesIn(type), error: 0 }))
}

export const bytesOf = (type: GgmlTypeName, shape: readonly number[]): number =>
  ggmlByteLength(type, shape.at(-1) ?? 1, elements(shape) / (shape.at(-1) ?? 1))

export const elements = (shape: readonly number[]): number =>
  shape.reduce((product, size) => product * size, 1)
