// Weights from files into memory. Names and layouts are translated by each architecture's pieces.

import { ConfigError } from '../../errors.ts'
import { Buffer, type Module, type Parameter } from '../../nn/index.ts'
import { type Device, type DType, empty, noGrad, requireDevice, tidy } from '../../torch/index.ts'
import { type AnyModel, declareModel } from '../architectures/create.ts'
import { parseTypeRules } from './conversion/type-rules.ts'
import { copyPiece } from './copy-piece.ts'
import { keepEncoded } from './encoded.ts'
import { type ExpertRows, expertRows } from './expert-rows.ts'
import { type MatchedPiece, matchTensors } from './matching.ts'
import { requantize } from './requantize.ts'
import { type ModelSource, openSource } from './source.ts'
import { MappedFiles } from './tensor-file.ts'
import { isWhole } from './tensor-part.ts'

export interface LoadOptions {
  /** Default cpu. */
  device?: Device
  /** Default f32: half-precision and quantized files are widened. */
  dtype?: 'f32' | 'f64' | 'bf16' | 'f16'
  /**
   * `stored`: matrices stay as the file encodes them, quantized or in half precision, and are computed from that, without
   * gradients and on the CPU alone. What products alone do not read is widened all the same. Types as `q8_0,experts=q4_0`
   * (parseTypeRules) round them to blocks while they are loaded, and compute from these. Default decoded.
   */
  weights?: 'stored' | 'decoded' | (string & {})
  /**
   * Whether tensors that a file has just as memory wants them are mapped: they take memory when they are used, and the file
   * must not be truncated meanwhile. Default true.
   */
  mapped?: boolean
}

/**
 * The model of a source, for evaluation.
 *
 * @throws FormatError listing the missing, surplus and misshapen tensors; nothing is half-loaded
 * @throws ConfigError for what cannot be computed here
 */
export function loadSource(source: ModelSource, options: LoadOptions = {}): AnyModel {
  const { dtype = 'f32', device = 'cpu', weights = 'decoded', mapped = true } = options
  if (weights !== 'decoded' && (device !== 'cpu' || dtype !== 'f32')) {
    throw new ConfigError(`${weights} weights are computed on the CPU in f32: leave device and dtype out`, {
      path: 'weights',
    })
  }
  const place = { dtype, device: requireDevice(device) }
  const pieces = matchTensors(source)
  const model: AnyModel = declareModel(source.config)
  fill(model, pieces, { ...place, weights, mapped })
  return model.to(place.device).eval()
}

/** A model whose experts are still in its files. */
export interface ModelWithoutExperts {
  model: AnyModel
  /** Those of its matrices, by the paths of their parameters, which are without memory. */
  experts: ReadonlyMap<string, ExpertRows>
}

/**
 * As loadSource(), but for the matrices of experts that can be read one by one. The rest is copied: what happens to the files
 * afterwards does no harm.
 *
 * @param place default: as the file has them, on the CPU
 */
export function loadWithoutExperts(
  source: ModelSource,
  { dtype = 'f32', device = 'cpu', weights = 'stored' }: LoadOptions = {},
): ModelWithoutExperts {
  const { model, experts, rest } = apartFromExperts(source)
  fill(model, rest, { dtype, device: requireDevice(device), weights, mapped: false })
  return { model: model.to(device).eval(), experts }
}

/** What loadWithoutExperts() would load, without loading it. */
export interface SizesWithoutExperts extends ModelWithoutExperts {
  /** Bytes in memory of all that is not experts'. */
  bytes: number
}

/** Sizes alone: the model has no memory. */
export function sizesWithoutExperts(source: ModelSource): SizesWithoutExperts {
  const { model, experts, rest } = apartFromExperts(source)
  const tensors = model.stateDict()
  const bytes = rest.reduce((sum, { parameter, stored }) => {
    const isEncodable = tensors.get(parameter)?.declaration.encodable === true && stored.rowEncoding !== null
    const elements = stored.shape.reduce((product, size) => product * size, 1)
    return sum + (isEncodable ? stored.ranges().reduce((all, { length }) => all + length, 0) : 4 * elements)
  }, 0)
  return { model, experts, bytes }
}

function apartFromExperts(source: ModelSource): ModelWithoutExperts & { rest: MatchedPiece[] } {
  const pieces = matchTensors(source)
  const model: AnyModel = declareModel(source.config)
  const experts = expertRows(model.stateDict(), pieces)
  return { model, experts, rest: pieces.filter(({ parameter }) => !experts.has(parameter)) }
}

/** Gives a declared model's tensors their memory, from pieces of files: on the files themselves where `mapped` and possible. */
function fill(
  model: AnyModel,
  pieces: readonly MatchedPiece[],
  { weights, ...place }: Required<LoadOptions>,
): void {
  const tensors = model.stateDict()
  using files = new MappedFiles()
  noGrad(() => {
    const encoded = encode(tensors, pieces, files, { weights, mapped: place.mapped })
    for (const piece of pieces) {
      if (!encoded.has(piece.parameter)) tidy(() => fillDeclaration(tensors, piece, files, place))
    }
    for (const buffer of model.namedBuffers().values()) if (!buffer.isMade) buffer.makeFirst()
  })
  files.forgetPages() // what was copied is not needed twice
}

/** The paths of the parameters that are not to be decoded, which have their memory now. */
function encode(
  tensors: ReadonlyMap<string, Parameter | Buffer>,
  pieces: readonly MatchedPiece[],
  files: MappedFiles,
  { weights, mapped }: { weights: string; mapped: boolean },
): ReadonlySet<string> {
  if (weights === 'decoded') return new Set()
  if (weights === 'stored') return keepEncoded(tensors, pieces, files, { mapped })
  return requantize(tensors, pieces, files, parseTypeRules(weights, 'weights'))
}

/** Copies a model folder's weights into a model of the same config, whose parameters stay memory of their own. */
export function loadWeights(folder: string, model: Module): void {
  const tensors = model.stateDict()
  using files = new MappedFiles()
  noGrad(() => {
    for (const piece of matchTensors(openSource(folder))) tidy(() => copyPiece(tensors, piece, files))
  })
}

/** A piece that is all of a parameter, as memory wants it, becomes its memory; others are copied into memory of its own. */
function fillDeclaration(
  tensors: ReadonlyMap<string, Parameter | Buffer>,
  piece: MatchedPiece,
  files: MappedFiles,
  { dtype, device, mapped }: { dtype: DType; device: Device; mapped: boolean },
): void {
  const tensor = tensors.get(piece.parameter)
  if (!tensor) return
  const wanted = tensor instanceof Buffer ? tensor.declaredDType : dtype
  if (!tensor.isMade) {
    if (mapped && device === 'cpu' && piece.stored.dtype === wanted && isWhole(piece)) {
      tensor.make(piece.stored.read(files))
      return
    }
    tensor.make(empty(tensor.shape, { dtype: wanted, device }))
  }
  copyPiece(tensors, piece, files)
}
