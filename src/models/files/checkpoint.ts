// Weights between files and memory. Names and layouts are translated by each architecture's pieces.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { invariant } from '../errors.ts'
import { writeSafetensors } from '../formats/index.ts'
import { type Module, skipInit } from '../nn/index.ts'
import {
  type Device,
  type DType,
  noGrad,
  placeParameters,
  requireDevice,
  type Tensor,
  tidy,
} from '../torch/index.ts'
import type { CausalLM, LanguageModel } from './decoder.ts'
import type { TextModel } from './generation/session.ts'
import { type MatchedPiece, matchTensors } from './matching.ts'
import { type ModelSource, openSource } from './source.ts'
import {
  type AnyModel,
  type AnyModelConfig,
  type DecoderModelConfig,
  type EncoderDecoderModelConfig,
  isEncoderDecoder,
  type ModelConfig,
  modelFileOf,
  requireDecoder,
  requireOneStack,
} from './table.ts'
import { MappedFiles, tensorSource } from './tensor-file.ts'
import { isWhole, partOf } from './tensor-part.ts'

export interface LoadOptions {
  /** Default cpu. */
  device?: Device
  /** Default f32: half-precision and quantized files are widened. */
  dtype?: 'f32' | 'f64' | 'bf16' | 'f16'
}

export interface LoadedModel {
  config: DecoderModelConfig
  model: CausalLM
}

/** A decoder or an encoder. */
export interface LoadedLanguageModel {
  config: ModelConfig
  model: LanguageModel
}

/** A model of any type; which one it is, its class says. */
export interface AnyLoadedModel {
  config: AnyModelConfig
  model: AnyModel
}

/**
 * Opens a model folder or GGUF file for evaluation. Tensors that a file has just as memory wants them are mapped: they
 * take memory when they are used, and the file must not be truncated meanwhile.
 *
 * @throws FormatError listing the missing, surplus and misshapen tensors; nothing is half-loaded
 */
export function loadAnyModel(path: string, options: LoadOptions = {}): AnyLoadedModel {
  const source = openSource(path)
  return { config: source.config, model: create(source, options) }
}

/** loadAnyModel() for what writes text: decoders and encoder-decoders. */
export function loadTextModel(
  path: string,
  options: LoadOptions = {},
): { config: DecoderModelConfig | EncoderDecoderModelConfig; model: TextModel } {
  const source = openSource(path)
  const config = isEncoderDecoder(source.config) ? source.config : requireDecoder(source.config, path)
  return { config, model: create(source, options) as TextModel }
}

/** loadAnyModel() for what needs a decoder-only model. */
export function loadModel(path: string, options: LoadOptions = {}): LoadedModel {
  const source = openSource(path)
  const config = requireDecoder(source.config, path)
  return { config, model: create(source, options) as CausalLM }
}

/** loadAnyModel() for what needs a model of one stack of layers. */
export function loadLanguageModel(path: string, options: LoadOptions = {}): LoadedLanguageModel {
  const source = openSource(path)
  const config = requireOneStack(source.config, path)
  return { config, model: create(source, options) as LanguageModel }
}

function create(source: ModelSource, options: LoadOptions): AnyModel {
  const { dtype = 'f32' } = options
  const device = requireDevice(options.device ?? 'cpu')
  const pieces = matchTensors(source)
  const make = (): AnyModel => modelFileOf(source.config).create(source.config)
  const model = placeParameters({ dtype, device }, () => skipInit(make))
  model.to(device)
  fill(model, pieces, mapOrCopy)
  return model.eval()
}

/** Copies a model folder's weights into a model of the same config, whose parameters stay memory of their own. */
export function loadWeights(folder: string, model: LanguageModel): void {
  fill(model, matchTensors(openSource(folder)), copyPiece)
}

type FillPiece = (parameters: ReadonlyMap<string, Tensor>, piece: MatchedPiece, files: MappedFiles) => void

function fill(model: Module, pieces: readonly MatchedPiece[], fillPiece: FillPiece): void {
  const parameters = model.stateDict()
  using files = new MappedFiles()
  noGrad(() => {
    for (const piece of pieces) tidy(() => fillPiece(parameters, piece, files))
  })
}

const mapOrCopy: FillPiece = (parameters, piece, files) => {
  const parameter = parameters.get(piece.parameter)
  const isAsWanted = parameter?.dtype === piece.stored.dtype && parameter?.device === 'cpu'
  if (parameter && isAsWanted && isWhole(piece)) parameter.setData(piece.stored.read(files))
  else copyPiece(parameters, piece, files)
}

/** What has to be decoded is decoded a slice of a stack at a time: the whole may not fit beside the parameter. */
export const copyPiece: FillPiece = (parameters, piece, files) => {
  const { stored } = piece
  const part = partOf(parameters, piece)
  if (stored.dtype !== null || stored.shape.length < 3) {
    part.copy_(stored.read(files).view(part.shape))
    return
  }
  for (let index = 0; index < part.size(0); index++)
    tidy(() => void part.select(0, index).copy_(stored.readSlice(files, index)))
}

/** What config.json calls a dtype. */
const hfDTypes: Partial<Record<DType, string>> = {
  f32: 'float32',
  f64: 'float64',
  bf16: 'bfloat16',
  f16: 'float16',
}

export const hfDTypeOf = (dtype: DType): string => hfDTypes[dtype] ?? 'float32'

/** Writes config.json and model.safetensors under published names: any tool that reads the type reads the folder. */
export function saveModel(folder: string, model: Module, config: AnyModelConfig): void {
  const file = modelFileOf(config)
  const parameters = model.stateDict()
  const dtype = model.parameters()[0]?.dtype ?? 'f32'
  const json = file.toJson(config, hfDTypeOf(dtype))
  writeFileSync(join(folder, 'config.json'), `${JSON.stringify(json, null, 2)}\n`)
  const sources = file.checkpointPieces(config).map(piece => {
    const parameter = parameters.get(piece.parameter)
    invariant(parameter, `the model has no parameter ${piece.parameter}`)
    return tensorSource(piece.name, parameter.dtype, piece.shape, () => partOf(parameters, piece))
  })
  writeSafetensors(join(folder, 'model.safetensors'), sources)
}
