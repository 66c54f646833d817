// A model of random weights as a source of tensors, which are drawn when they are asked for: models of any size can be
// written, a parameter at a time.

import { ConfigError } from '../../errors.ts'
import { canBeSkewed, LinearRouter, skewedScales } from '../../moe/index.ts'
import { Buffer, fill, type Init, ownSeed, type Parameter } from '../../nn/index.ts'
import { empty, itemSize, noGrad, stack, type Tensor, tensor, tidy, withSeed } from '../../torch/index.ts'
import type { Declarations } from '../architectures/architecture.ts'
import { type AnyModel, declareModel, startOfModel } from '../architectures/create.ts'
import { wholePieces } from '../architectures/published-names.ts'
import type { AnyModelConfig } from '../architectures/table.ts'
import { type Start, startOf } from '../stack/start.ts'
import type { ModelSource } from './source.ts'
import type { StoredTensor } from './stored-tensor.ts'

export interface DrawOptions {
  /** Each tensor, and each expert's part of it, is drawn by a seed that follows from this one and its path. Default 0. */
  seed?: number
  /**
   * How uneven the experts' loads are: the expert of rank r gets a share of tokens `~ r^-skew`, at most 0.4; see
   * skewedScales(). Ranks are by chance in each layer. For routers that score by a linear map; others stay as they are.
   * Default 0.5, or 0 where tokens choose so many experts that loads cannot differ.
   */
  skew?: number | undefined
}

const usualSkew = 0.5

/**
 * A fresh model with initial values as createModel() draws them, but for its routers' skew, as files would hold it.
 *
 * @example writeGgufModel(drawnSource(config, { seed: 1 }), 'model.gguf', { rules, name: 'random', tokenizer: noTokenizer })
 * @throws ConfigError for a skew that is negative, or that its routers cannot have
 */
export function drawnSource(config: AnyModelConfig, { seed = 0, skew }: DrawOptions = {}): ModelSource {
  const model = declareModel(config)
  const declarations = model.declarations()
  const scales = routerScales(model, seed, skew)
  const start = startOfModel(model)
  const tensors = [...model.stateDict()].map(([path, value]): [string, StoredTensor] => [
    path,
    value instanceof Buffer
      ? firstValue(path, value)
      : drawn(path, value, { seed, start, scales: scales.get(path) }),
  ])
  return {
    path: `random ${config.model_type}`,
    config,
    declarations,
    described: 'its config',
    tensors: new Map(tensors),
    layouts: [wholePieces(declarations)],
    isNeedless: () => false,
  }
}

/** Bytes that writing a source takes: neighbouring parameters in f32, of which a layer's stacked experts are the largest. */
export function drawingMemory(declarations: Declarations): number {
  const sizes = [...declarations.values()].map(({ shape }) => shape.reduce((a, b) => a * b, itemSize.f32))
  return Math.max(...sizes.map((size, i) => size + (sizes[i + 1] ?? 0)))
}

/** What the rows of each linear router are multiplied with, by the path of its weight. */
function routerScales(model: AnyModel, seed: number, skew: number | undefined): Map<string, number[]> {
  if (skew !== undefined && !(skew >= 0))
    throw new ConfigError(`must be at least 0, got ${skew}`, { path: 'skew' })
  const scales = new Map<string, number[]>()
  for (const [path, router] of model.namedModules()) {
    if (!(router instanceof LinearRouter) || router.weight.shape[0] !== router.numExperts) continue
    const { numExperts, active } = router
    const isPossible = canBeSkewed(numExperts, active)
    if (skew && !isPossible) refuseSkew(skew, numExperts, active)
    if (!isPossible || skew === 0) continue
    const weight = `${path}.weight`
    scales.set(weight, byChance(skewedScales(numExperts, active, skew ?? usualSkew), seed, weight))
  }
  return scales
}

function refuseSkew(skew: number, numExperts: number, active: number): never {
  throw new ConfigError(
    `${skew} cannot be: tokens choose ${active} of ${numExperts} experts, and one gets at most 0.4 of all tokens; leave it out`,
    { path: 'skew' },
  )
}

/** The values in an order that follows from the seed and the path. */
function byChance(values: readonly number[], seed: number, path: string): number[] {
  const order = values.map((value, rank) => ({ value, key: ownSeed(seed, `${path} rank`, rank) }))
  return order.sort((a, b) => a.key - b.key).map(({ value }) => value)
}

/** What tensors of either kind have in common: no file. */
const nowhere = {
  ...{ file: '', encoding: 'drawn', rowEncoding: null, isApart: false, isReadable: true },
  ranges: () => [],
  rows: (): never => {
    throw new Error('drawn tensors have no rows in files')
  },
}

function firstValue(name: string, buffer: Buffer): StoredTensor {
  return {
    ...{ ...nowhere, name, shape: buffer.shape, dtype: buffer.declaredDType },
    read: () => buffer.first(),
    readSlice: (_, index) => tidy(() => buffer.first().select(0, index)),
  }
}

interface Drawing {
  seed: number
  start: Start
  /** Of each row; undefined: the rows stay. */
  scales: readonly number[] | undefined
}

function drawn(name: string, parameter: Parameter, drawing: Drawing): StoredTensor {
  const { shape } = parameter
  const whole = (): Tensor => drawWhole(name, parameter, drawing)
  const init = startOf(parameter.declaration, drawing.start)
  // A rule of its own may look at the whole.
  const isSliced = parameter.declaration.stacked === true && shape.length > 2 && init.kind !== 'own'
  const slice = (index: number): Tensor => draw(shape.slice(1), init, ownSeed(drawing.seed, name, index))
  return {
    // Of stacks alone a slice can be read without the others: null has readers ask for slices.
    ...{ ...nowhere, name, shape, dtype: isSliced ? null : 'f32' },
    read: () =>
      isSliced ? tidy(() => stack(Array.from({ length: shape[0] ?? 0 }, (_, i) => slice(i)))) : whole(),
    readSlice: (_, index) => (isSliced ? slice(index) : tidy(() => whole().select(0, index))),
  }
}

function drawWhole(name: string, parameter: Parameter, { seed, start, scales }: Drawing): Tensor {
  const { shape, declaration } = parameter
  return noGrad(() =>
    tidy(() => {
      const values = draw(shape, startOf(declaration, start), ownSeed(seed, name, 0))
      if (scales) values.mul_(tensor(scales).unsqueeze(-1))
      if (parameter === start.table && start.padding !== null) values.select(0, start.padding).zero_()
      return values
    }),
  )
}

const draw = (shape: readonly number[], init: Init, seed: number): Tensor =>
  withSeed(seed, () => fill(empty(shape), init))
