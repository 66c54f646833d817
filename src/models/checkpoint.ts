// Weights between model folders and memory. Names and layouts are translated by each architecture's pieces.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FormatError, invariant } from '../errors.ts'
import { writeSafetensors } from '../formats/index.ts'
import { type Module, skipInit } from '../nn/index.ts'
import { type Device, type DType, noGrad, type Tensor, tidy } from '../torch/index.ts'
import { type CheckpointPiece, wholePieces } from './architecture.ts'
import type { CausalLM } from './decoder.ts'
import type { EncoderDecoderLM } from './encoder-decoder.ts'
import { locateTensors, readAnyConfig, readModelConfig, type TensorLocation } from './folder.ts'
import { type AnyModelConfig, type ModelConfig, modelFileOf } from './table.ts'
import { isLoadable, MappedFiles, tensorSource } from './tensor-file.ts'

export interface LoadOptions {
  /** Default cpu. */
  device?: Device
  /** Default f32: half-precision files are widened. */
  dtype?: 'f32' | 'f64' | 'bf16' | 'f16'
}

export interface LoadedModel {
  config: ModelConfig
  model: CausalLM
}

/** A model of any type; which one it is, its class says. */
export interface AnyLoadedModel {
  config: AnyModelConfig
  model: CausalLM | EncoderDecoderLM
}

/** A piece of a parameter and the file tensor that fills it. */
export type MatchedPiece = CheckpointPiece & { location: TensorLocation }

/**
 * Opens a model folder for evaluation.
 *
 * @throws FormatError listing the missing, surplus and misshapen tensors; nothing is half-loaded
 */
export function loadAnyModel(folder: string, options: LoadOptions = {}): AnyLoadedModel {
  const config = readAnyConfig(folder)
  return { config, model: loadInto(folder, config, options) }
}

/** loadAnyModel() for what needs a decoder-only model. */
export function loadModel(folder: string, options: LoadOptions = {}): LoadedModel {
  const config = readModelConfig(folder)
  return { config, model: loadInto(folder, config, options) as CausalLM }
}

function loadInto(
  folder: string,
  config: AnyModelConfig,
  { device = 'cpu', dtype = 'f32' }: LoadOptions,
): CausalLM | EncoderDecoderLM {
  const pieces = matchTensors(folder, config)
  const model = skipInit(() => modelFileOf(config).create(config))
  model.to(dtype).to(device)
  fill(model, pieces)
  return model.eval()
}

/** Copies a model folder's weights into a model of the same config. */
export function loadWeights(folder: string, model: CausalLM, config: ModelConfig): void {
  fill(model, matchTensors(folder, config))
}

/**
 * Pairs a folder's tensors with the model's. Each parameter is taken under its published names, or else under its path
 * in memory, as transformers 5 saves stacked experts.
 */
export function matchTensors(folder: string, config: AnyModelConfig): MatchedPiece[] {
  const architecture = modelFileOf(config)
  const located = locateTensors(folder)
  const shapes = architecture.parameterShapes(config)
  const published = byParameter(architecture.checkpointPieces(config))
  const pieces = wholePieces(shapes).flatMap(whole => {
    const parts = published.get(whole.parameter) ?? []
    const isStacked = located.has(whole.name) && !parts.some(part => located.has(part.name))
    return isStacked ? [whole] : parts
  })
  const isNeedless = (name: string): boolean =>
    (config.tie_word_embeddings && name === 'lm_head.weight') || // a copy of the embedding
    name.endsWith('.rotary_emb.inv_freq') || // a buffer of old files
    (architecture.isIgnored?.(config, name) ?? false)
  const wanted = new Set(pieces.map(piece => piece.name))
  for (const name of located.keys()) if (!wanted.has(name) && isNeedless(name)) located.delete(name)
  refuseMismatch(pieces, located, folder)
  return pieces.flatMap(piece => {
    const location = located.get(piece.name)
    return location ? [{ ...piece, location }] : []
  })
}

function byParameter(pieces: readonly CheckpointPiece[]): Map<string, CheckpointPiece[]> {
  const groups = new Map<string, CheckpointPiece[]>()
  for (const piece of pieces) {
    const group = groups.get(piece.parameter) ?? []
    group.push(piece)
    groups.set(piece.parameter, group)
  }
  return groups
}

function refuseMismatch(
  pieces: readonly CheckpointPiece[],
  located: ReadonlyMap<string, TensorLocation>,
  folder: string,
): void {
  const problems = pieces.flatMap(({ name, shape }) => {
    const found = located.get(name)
    if (!found) return [`missing ${name}`]
    if (found.shape.join() !== shape.join()) {
      return [`${name} is [${found.shape.join(', ')}], config.json says [${shape.join(', ')}]`]
    }
    return isLoadable(found.dtype) ? [] : [`${name} is ${found.dtype}, which cannot be loaded`]
  })
  const wanted = new Set(pieces.map(piece => piece.name))
  for (const name of located.keys()) if (!wanted.has(name)) problems.push(`surplus ${name}`)
  if (problems.length === 0) return
  const more = problems.length > 12 ? `; and ${problems.length - 12} more` : ''
  throw new FormatError(`tensors do not fit config.json: ${problems.slice(0, 12).join('; ')}${more}`, {
    file: folder,
  })
}

/** Throws FormatError naming the tensors that hold NaN or infinity. */
export function refuseNonFinite(pieces: readonly MatchedPiece[]): void {
  using files = new MappedFiles()
  const allFinite = (piece: MatchedPiece): boolean =>
    tidy(() => files.tensor(piece.location).isfinite().all().item() === 1)
  const bad = pieces.filter(piece => !allFinite(piece)).map(piece => piece.name)
  if (bad.length === 0) return
  const more = bad.length > 8 ? ` and ${bad.length - 8} more` : ''
  const file = pieces[0]?.location.file ?? ''
  throw new FormatError(`NaN or infinite values in ${bad.slice(0, 8).join(', ')}${more}`, { file })
}

function fill(model: Module, pieces: readonly MatchedPiece[]): void {
  const parameters = model.stateDict()
  using files = new MappedFiles()
  noGrad(() => {
    for (const piece of pieces) tidy(() => void partOf(parameters, piece).copy_(files.tensor(piece.location)))
  })
}

/** The view of a parameter that one file tensor stands for. */
function partOf(
  parameters: ReadonlyMap<string, Tensor>,
  { parameter, index, rows }: CheckpointPiece,
): Tensor {
  const whole = parameters.get(parameter)
  invariant(whole, `the model has no parameter ${parameter}`)
  const slice = index === undefined ? whole.detach() : whole.detach().select(0, index)
  return rows === undefined ? slice : slice.narrow(0, rows[0], rows[1])
}

/** What config.json calls a dtype. */
const hfDTypes: Partial<Record<DType, string>> = {
  f32: 'float32',
  f64: 'float64',
  bf16: 'bfloat16',
  f16: 'float16',
}

/** Writes config.json and model.safetensors under published names: any tool that reads the type reads the folder. */
export function saveModel(folder: string, model: Module, config: AnyModelConfig): void {
  const architecture = modelFileOf(config)
  const parameters = model.stateDict()
  const dtype = model.parameters()[0]?.dtype ?? 'f32'
  const json = architecture.toJson(config, hfDTypes[dtype] ?? 'float32')
  writeFileSync(join(folder, 'config.json'), `${JSON.stringify(json, null, 2)}\n`)
  const sources = architecture.checkpointPieces(config).map(piece => {
    const parameter = parameters.get(piece.parameter)
    invariant(parameter, `the model has no parameter ${piece.parameter}`)
    return tensorSource(piece.name, parameter, piece.shape, () => partOf(parameters, piece))
  })
  writeSafetensors(join(folder, 'model.safetensors'), sources)
}
