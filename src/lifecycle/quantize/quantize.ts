// A model as a GGUF file whose blocks are fitted to what its inputs are.

import { ConfigError } from '../../errors.ts'
import type { GgmlTypeName, GgufMetadata } from '../../formats/index.ts'
import {
  type BlockEncoder,
  type GgufModelTensor,
  ggufTensorsOf,
  type ModelSource,
  type RowPlace,
  roundToNearest,
  type TypeRules,
  typesByRules,
  writeGgufModel,
} from '../../models/index.ts'
import { encoderOf, methodAt, type RoundingMethod } from './encoder.ts'
import { byProducts, ErrorSum, type MatrixWeight } from './error.ts'
import type { Hessians } from './hessians.ts'
import { type ImportanceOf, importanceOfTensors } from './importance-of.ts'
import { PlacedHessians } from './placed-hessians.ts'
import { planTypes } from './plan.ts'
import { bitsPerWeight, countMethods, sampleCounts, type TensorReport } from './report.ts'
import {
  bytesOf,
  elements,
  groupsOf,
  isAlwaysF32,
  measureSensitivity,
  type TensorGroup,
} from './sensitivity.ts'
import type { InputSquares } from './squares.ts'

/** Types by rules, or those that lose least within a budget. */
export type TypePlan =
  | { kind: 'rules'; rules: TypeRules }
  | {
      kind: 'budget'
      /** Of the tensors together, routers and vectors included; metadata come on top. */
      budget: { bytes: number } | { bitsPerWeight: number }
      /** What may be chosen. */
      types: readonly GgmlTypeName[]
    }

export interface QuantizeOptions {
  plan: TypePlan
  /** By the names of tensors in GGUF files; see squaresByTensor() and readImportanceMatrix(). */
  squares: ReadonlyMap<string, InputSquares>
  /** GPTQ, where they are given and samples suffice; see Hessians. Default: blocks are fitted alone. */
  hessians?: Hessians
  /** `general.name` of the file. */
  name: string
  /** Metadata of the tokenizer; see tokenizerMetadata(). */
  tokenizer: GgufMetadata
  /** Called with what is done (`measuring`, `writing`), its share, and what is next. */
  onProgress?: (work: string, fraction: number, tensor: string) => void
}

export interface QuantizedModel {
  /** Of the file. */
  bytes: number
  /** Of all tensors. */
  bitsPerWeight: number
  tensors: TensorReport[]
}

/**
 * Writes a model whose matrices are rounded by what is known of their inputs. All experts of a stacked tensor get one type,
 * since GGUF has one type for each tensor, and so do tensors that are one parameter in memory. Routers, vectors and the
 * bias of selection stay F32.
 *
 * @throws ConfigError for a budget that cannot be met, sums of another model, or one that GGUF cannot describe
 */
export function quantizeModel(source: ModelSource, file: string, options: QuantizeOptions): QuantizedModel {
  const { plan, squares, onProgress, name, tokenizer } = options
  const tensors = ggufTensorsOf(source)
  const importanceOf = importanceOfTensors(tensors, squares)
  const types = typesFor(source, tensors, plan, importanceOf, onProgress)
  const typeOf = ({ name }: GgufModelTensor): GgmlTypeName => types.get(name) ?? 'F32'
  using products = options.hessians ? new PlacedHessians(options.hessians, tensors) : null
  const { encoder, errors } = measured(importanceOf, products)
  const { bytes } = writeGgufModel(source, file, {
    rules: typeOf,
    encoder,
    name,
    tokenizer,
    onProgress: (fraction, tensor) => onProgress?.('writing', fraction, tensor),
  })
  const reports = tensors.map((tensor): TensorReport => {
    const [type, found] = [typeOf(tensor), errors.get(tensor.name)]
    const known = squares.get(tensor.name)
    return {
      name: tensor.name,
      type,
      bits: (8 * bytesOf(type, tensor.shape)) / elements(tensor.shape),
      bytes: bytesOf(type, tensor.shape),
      error: found?.fitted.relative ?? null,
      plainError: found?.plain.relative ?? null,
      methods: found ? countMethods(found.methods.values()) : null,
      samples: known ? sampleCounts(known) : null,
    }
  })
  const bits = bitsPerWeight(
    tensors,
    reports.map(report => report.bytes),
  )
  return { bytes, bitsPerWeight: bits, tensors: reports }
}

interface Errors {
  fitted: ErrorSum
  plain: ErrorSum
  /** By matrix. */
  methods: Map<number, RoundingMethod>
}

/** The encoder, and by tensor what it and rounding to nearest have lost so far. */
function measured(
  importanceOf: ImportanceOf,
  products: PlacedHessians | null,
): { encoder: BlockEncoder; errors: Map<string, Errors> } {
  const errors = new Map<string, Errors>()
  const encode = encoderOf(importanceOf, products)
  const encoder: BlockEncoder = (rows, type, place) => {
    const sums = errors.get(place.tensor) ?? {
      fitted: new ErrorSum(),
      plain: new ErrorSum(),
      methods: new Map<number, RoundingMethod>(),
    }
    errors.set(place.tensor, sums)
    sums.methods.set(place.matrix, methodAt(place, type, importanceOf, products))
    const bytes = encode(rows, type, place)
    const weight = weightAt(place, importanceOf, products)
    sums.fitted.add(rows, bytes, type, weight)
    sums.plain.add(rows, roundToNearest(rows, type, place), type, weight)
    return bytes
  }
  return { encoder, errors }
}

/** By the products of inputs where they are known, else by squares. */
function weightAt(
  place: RowPlace,
  importanceOf: ImportanceOf,
  products: PlacedHessians | null,
): MatrixWeight {
  const importance = importanceOf(place.tensor)
  const weight = importance.weightOf(place.matrix)
  const hessian = importance.columns(place.matrix) && products?.of(place)
  return hessian ? { ...weight, weigh: byProducts(hessian, importance.count(place.matrix)) } : weight
}

/** The type of each tensor, by name. */
function typesFor(
  source: ModelSource,
  tensors: readonly GgufModelTensor[],
  plan: TypePlan,
  importanceOf: ImportanceOf,
  onProgress: QuantizeOptions['onProgress'],
): Map<string, GgmlTypeName> {
  if (plan.kind === 'rules') {
    const byRules = typesByRules(plan.rules)
    return new Map(tensors.map(tensor => [tensor.name, byRules(tensor)]))
  }
  const fixed = tensors.filter(isAlwaysF32).reduce((sum, { shape }) => sum + bytesOf('F32', shape), 0)
  const budget = bytesWithin(plan.budget, tensors)
  const possible = groupsOf(tensors, plan.types)
  refuseImpossible(budget, fixed + leastBytes(possible), tensors)
  const groups = measureSensitivity(source, possible, {
    importanceOf,
    onProgress: (fraction, tensor) => onProgress?.('measuring', fraction, tensor),
  })
  const chosen = planTypes(groups, budget - fixed)
  return new Map(
    groups.flatMap(({ tensors: group }, g) =>
      group.map(({ name }) => [name, chosen[g]?.type ?? 'F32'] as const),
    ),
  )
}

const leastBytes = (groups: readonly TensorGroup[]): number =>
  groups.reduce((sum, { options }) => sum + Math.min(...options.map(({ bytes }) => bytes)), 0)

function bytesWithin(
  budget: Extract<TypePlan, { kind: 'budget' }>['budget'],
  tensors: readonly GgufModelTensor[],
): number {
  if ('bytes' in budget) return budget.bytes
  return Math.floor((budget.bitsPerWeight / 8) * tensors.reduce((sum, { shape }) => sum + elements(shape), 0))
}

function refuseImpossible(budget: number, least: number, tensors: readonly GgufModelTensor[]): void {
  if (least <= budget) return
  const bits = Math.ceil(1000 * bitsPerWeight(tensors, [least])) / 1000
  throw new ConfigError(
    `allows ${budget} bytes, but the smallest types take ${least}, ${bits} bits per weight: allow more, or name smaller types`,
    { path: 'budget' },
  )
}
