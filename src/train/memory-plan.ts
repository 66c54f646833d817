// What memory training takes, known from the recipe before any is taken.
// Shapes: B sequences of a micro-batch, S positions, T = B*S tokens, D model, V vocabulary, H heads, E experts, K choices per token, N = T*K rows, F expert width, W = 2F.

import { freemem } from 'node:os'
import { ConfigError } from '../errors.ts'
import {
  type ActivationSizes,
  type AdapterConfig,
  type AdapterModule,
  type AnyModelConfig,
  attachAdapters,
  type Declarations,
  declareModel,
  EncoderDecoderLM,
  headActivations,
  isEncoderDecoder,
  type LanguageModel,
  type LayerActivations,
  LoraExperts,
  layerActivations,
  MixLora,
  MoLoraLinear,
  MovLinear,
  type OutsideActivations,
  select,
  selectable,
  shapesUnder,
  type TrainableModel,
} from '../models/index.ts'
import { MoeLayer, PeerLayer } from '../moe/index.ts'
import { type Declaration, declared, type Role } from '../nn/index.ts'
import { availableCudaMemory, type Device, hasCudaRuntime, itemSize } from '../torch/index.ts'
import { pairLayers } from './encoder-decoder-memory.ts'
import type { HalfPrecision } from './optimizer/optimizer.ts'
import { optimizerMemory } from './optimizer/table.ts'
import { autocastType, halfOptions, type Precision } from './precision.ts'
import { storedBytes } from './recipe/opened.ts'
import { isOpened, isStack, type OpenedModelSettings, type Recipe } from './recipe/schema.ts'

/** Bytes at the moment of a step at which there are most. */
export interface MemoryPlan {
  weights: number
  /** Moments, f32 copies of weights in half precision, and averages of weights. */
  optimizer: number
  gradients: number
  /** What backward needs of forward. */
  activations: number
  /** What is needed for a moment: logits of some tokens, and gradients on their way through a layer. */
  working: number
}

export const totalBytes = (plan: MemoryPlan): number => Object.values(plan).reduce((sum, part) => sum + part)

/** Bytes of one layer. */
type LayerMemory = LayerActivations & { gradients: number }

/** Bytes of embedding, head and loss. */
type OutsideMemory = OutsideActivations & { gradients: number }

/**
 * The memory of a step with this recipe, as its kernels take it: see the save_for_backward in functions.cc of each part of
 * native/ops.
 * An estimate: parts without a kernel, as experts with dropout, take more.
 */
export function memoryPlan(recipe: Recipe, config: AnyModelConfig): MemoryPlan {
  const { precision, gradientAccumulation, recompute } = recipe
  const model = declareModel(config)
  const shapes = model.declarations()
  const adapters = recipe.adapter ? declaredAdapters(model, recipe.adapter) : null
  const { withGradients, moved } = trainedShapes(model, recipe.trained)
  const bytes = (of: Declarations, each: (precision: Precision, role: Role) => number): number =>
    sum([...of.values()].map(({ shape, role }) => product(shape) * each(precision, role)))
  const { layers, outside: besideLayers } = forwardMemory(recipe, model, {
    shapes,
    gradientsOf: prefix => bytes(shapesUnder(withGradients, prefix), weightBytes),
  })
  const all = bytes(model.declarations(), weightBytes)
  const isStored = isOpened(recipe.model) && recipe.model.weights === 'stored'
  // Adapters, and the files; what is no matrix is widened, which is little.
  const weights = isStored
    ? all - bytes(shapes, weightBytes) + storedBytes(recipe.model as OpenedModelSettings)
    : all
  const memory = optimizerMemory(recipe.optimizer)
  const half = ({ role }: Declaration): HalfPrecision | null =>
    isHalf(precision, role) ? halfOptions(precision) : null
  const averages = recipe.ema ? bytes(moved, () => itemSize.f32) : 0
  const optimizer = averages + sum([...moved.values()].map(each => memory.stateBytes(each, half(each))))
  const narrowed = autocastType(precision, recipe.device as Device) ? weights / 2 : 0 // copies that the graph keeps
  const outside = {
    ...besideLayers,
    gradients: bytes(withGradients, weightBytes) - sum(layers.map(each => each.gradients)),
  }
  const moments = stepMoments(layers, outside, { recompute, accumulates: gradientAccumulation > 1 })
  const update = {
    gradients: bytes(withGradients, weightBytes),
    activations: outside.held + sum(layers.map(({ routing }) => routing)),
    working: Math.max(0, ...[...moved.values()].map(each => memory.workBytes(each))),
  }
  const { gradients, activations, working } = largest([...moments, update])
  const numbers = adapters ? adaptedNumbers(adapters, tokensOf(recipe)) : { kept: 0, working: 0 }
  return {
    ...{ weights, optimizer, gradients },
    activations: activations + narrowed + numbers.kept * activationBytes(recipe),
    working: working + numbers.working * activationBytes(recipe),
  }
}

interface LayerShapes {
  /** Of all parameters, without adapters. */
  shapes: Declarations
  /** Bytes of the gradients of a layer, by the path of its parameters. */
  gradientsOf(prefix: string): number
}

/** The layers, in the order in which they run, and what is outside of them. */
function forwardMemory(
  recipe: Recipe,
  model: TrainableModel,
  { shapes, gradientsOf }: LayerShapes,
): { layers: LayerMemory[]; outside: OutsideActivations } {
  if (model instanceof EncoderDecoderLM) return pairMemory(recipe, model, gradientsOf)
  const sizes = sizesOf(recipe, model)
  const layers = model.layers.map((_, layer) => {
    const prefix = `model.layers.${layer}.`
    return { gradients: gradientsOf(prefix), ...layerActivations(shapesUnder(shapes, prefix), sizes) }
  })
  return { layers, outside: headActivations(model.config.vocab_size, sizes) }
}

function pairMemory(
  recipe: Recipe,
  model: EncoderDecoderLM,
  gradientsOf: LayerShapes['gradientsOf'],
): { layers: LayerMemory[]; outside: OutsideActivations } {
  const { data, device } = recipe
  const { sequenceLength: positions, batchSize } = data
  const sizes = { positions, tokens: batchSize * positions, size: activationBytes(recipe) }
  const first = model.encoder.layers.length
  const layers = pairLayers(model, sizes).map((layer, i) => ({
    gradients: gradientsOf(i < first ? `encoder.layers.${i}.` : `decoder.layers.${i - first}.`),
    ...layer,
  }))
  const head = {
    ...sizes,
    model: model.config.d_model,
    onDevice: device !== 'cpu',
    smooths: recipe.losses.labelSmoothing > 0,
    compares: false,
  }
  const { activations, ...outside } = headActivations(model.config.vocab_size, head)
  return { layers, outside: { ...outside, activations: 2 * activations } } // both sides have a norm and an embedding
}

/** Adapters around a model of declarations. */
const declaredAdapters = (model: TrainableModel, config: AdapterConfig): ReadonlyMap<string, AdapterModule> =>
  declared(() => attachAdapters(model, config))

/** Numbers that adapters take beyond the model: sums with stacks of experts, which are written out, and what mixtures keep. */
function adaptedNumbers(
  adapters: ReadonlyMap<string, AdapterModule>,
  tokens: number,
): { kept: number; working: number } {
  const all = [...adapters.values()]
  const stacks = all.flatMap(adapter =>
    adapter instanceof LoraExperts
      ? [adapter.up && adapter.base.stacks.up, adapter.down && adapter.base.stacks.down]
      : [],
  )
  const mixed = all.map(mixedPerToken)
  return {
    kept: sum(stacks.map(stack => stack?.numel ?? 0)) + tokens * sum(mixed.map(({ kept }) => kept)),
    working: tokens * Math.max(...mixed.map(({ working }) => working)),
  }
}

/** Numbers that a mixture of adapters takes for a token beyond what it is around: kept for backward, and in it for a moment. */
function mixedPerToken(adapter: AdapterModule): { kept: number; working: number } {
  if (adapter instanceof MixLora) {
    const [model = 0, width = 0] = adapter.experts.down_proj.base.weight.shape
    const { active } = adapter.gate
    // Rows as they come in and go out, and between them gate, up, act(gate) and the product; then gradients of these rows.
    return { kept: active * (2 * model + 7 * width), working: active * (2 * model + 5 * width) }
  }
  if (adapter instanceof MoLoraLinear) {
    const [experts = 0, rank = 0] = adapter.lora_A.shape
    return { kept: 2 * experts * (rank + 1), working: 0 } // low rows before and after they are weighed, scores and weights
  }
  if (!(adapter instanceof MovLinear)) return { kept: 0, working: 0 }
  const [experts = 0, outputs = 0] = adapter.vectors.shape
  return { kept: 2 * (experts + outputs), working: 0 } // what is scaled, and by what
}

type Moment = Pick<MemoryPlan, 'gradients' | 'activations' | 'working'>

/**
 * The loss, and then backward of each layer, the last one first: activations go as gradients come. Where micro-batches are
 * added up, all gradients are there from the second on, and those of a layer once more while they are added. Where layers
 * are computed again, one layer's activations are there, with another output and routing. The objective holds the hidden
 * states and routings to the end.
 */
function stepMoments(
  layers: readonly LayerMemory[],
  outside: OutsideMemory,
  { recompute, accumulates }: { recompute: Recipe['recompute']; accumulates: boolean },
): Moment[] {
  const again = recompute === 'layers'
  const all = outside.gradients + sum(layers.map(layer => layer.gradients))
  const held = outside.held + sum(layers.map(layer => layer.routing))
  const kept = layers.map(({ input, activations }) => (again ? input : input + activations))
  const moments = layers.map(({ gradients, input, activations, routing, working }, i): Moment => {
    const before = sum(kept.slice(0, i))
    const arrived = outside.gradients + sum(layers.slice(i + 1).map(layer => layer.gradients))
    return {
      gradients: (accumulates ? all : arrived) + gradients,
      activations: held + before + input + activations + (again ? input + routing : 0),
      working,
    }
  })
  const loss = { activations: held + sum(kept) + outside.activations, working: outside.working }
  return [...moments, { ...loss, gradients: accumulates ? all : 0 }]
}

function largest(moments: readonly Moment[]): Moment {
  const size = ({ gradients, activations, working }: Moment): number => gradients + activations + working
  return moments.reduce((most, moment) => (size(moment) > size(most) ? moment : most))
}

/** What gets gradients, whole tensors, and what the optimizer moves, of which some are single experts of a stack. */
function trainedShapes(
  model: TrainableModel,
  selection: readonly string[],
): Record<'withGradients' | 'moved', Declarations> {
  const all = selectable(model)
  const chosen = [...select(selection, all)].flatMap(([path, share]) => {
    const declaration = all.get(path)?.declaration
    return declaration ? [{ path, share, declaration }] : []
  })
  const moved = chosen.map(({ path, share, declaration }): [string, Declaration] => {
    const [experts = 0, ...rest] = declaration.shape
    return [path, { ...declaration, shape: [share === 'all' ? experts : share.length, ...rest] }]
  })
  return {
    withGradients: new Map(chosen.map(({ path, declaration }) => [path, declaration])),
    moved: new Map(moved),
  }
}

/** Tokens of a micro-batch: a row of pairs has room for both answers. */
const tokensOf = ({ data, objective }: Recipe): number =>
  (objective.kind === 'dpo' ? 2 : 1) * data.batchSize * data.sequenceLength

function sizesOf(recipe: Recipe, model: LanguageModel): ActivationSizes {
  const { data, device, losses, objective } = recipe
  const { config } = model
  const blocks = model.model.layers.map(({ mlp }) => mlp)
  const [routed] = blocks.flatMap(block =>
    block instanceof MoeLayer && !(block instanceof MixLora) ? block : [],
  )
  const peer = blocks.find(block => block instanceof PeerLayer)
  return {
    positions: data.sequenceLength,
    tokens: tokensOf(recipe),
    model: config.hidden_size,
    heads: config.num_attention_heads,
    isCausal: model.model.isCausal,
    rotatesPartly: config.partial_rotary_factor < 1,
    experts: routed?.gate.numExperts ?? 0,
    choices: routed?.gate.active ?? 0,
    neurons: peer ? peer.heads * peer.topK : 0,
    size: activationBytes(recipe),
    onDevice: device !== 'cpu',
    smooths: losses.labelSmoothing > 0,
    compares: objective.kind === 'dpo',
  }
}

const activationBytes = ({ precision }: Recipe): number =>
  precision.kind === 'half' ? itemSize[precision.dtype] : itemSize.f32

const isHalf = (precision: Precision, role: Role): precision is Extract<Precision, { kind: 'half' }> =>
  precision.kind === 'half' && !(precision.router === 'f32' && role === 'router')

/** Bytes of a weight, and of its gradient. */
const weightBytes = (precision: Precision, role: Role): number =>
  isHalf(precision, role) ? itemSize[precision.dtype] : itemSize.f32

const product = (shape: readonly number[]): number => shape.reduce((total, size) => total * size, 1)

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

/** Bytes that can be had on a device. */
export function availableMemory(device: Device): number {
  if (device !== 'cpu') return hasCudaRuntime() ? availableCudaMemory(device) : Number.POSITIVE_INFINITY
  return Math.min(freemem(), process.constrainedMemory() || Number.POSITIVE_INFINITY)
}

/** How near a plan is, for what kernels compute (see memory-plan.test.ts). */
const accuracy = 0.05

/** @throws ConfigError when a plan is larger than what there is, beyond what it may be wrong by */
export function refuseTooLarge(
  plan: MemoryPlan,
  { recipe, config }: { recipe: Recipe; config: AnyModelConfig },
  available: number,
): void {
  const total = totalBytes(plan)
  if (total <= available * (1 + accuracy)) return
  const parts = Object.entries(plan).map(
    ([name, bytes]) => `${gib(bytes)} ${partNames[name as keyof MemoryPlan]}`,
  )
  throw new ConfigError(
    `training takes about ${gib(total)} GiB of memory (${parts.join(', ')}), ${gib(available)} GiB are free: ${remedyFor(plan, recipe, config)}`,
    { path: 'model' },
  )
}

const partNames: Record<keyof MemoryPlan, string> = {
  weights: 'for weights',
  optimizer: 'for the optimizer',
  gradients: 'for gradients',
  activations: 'for activations',
  working: 'to work with',
}

/** What helps most. */
function remedyFor(
  { weights, optimizer, gradients, activations, working }: MemoryPlan,
  recipe: Recipe,
  config: AnyModelConfig,
): string {
  const ofParameters = weights + optimizer + gradients
  if (ofParameters > activations + working)
    return isOpened(recipe.model)
      ? 'train less of it, as trained: attention'
      : isStack(recipe.model)
        ? 'lower model.hidden_size, num_hidden_layers or num_local_experts'
        : 'lower model.d_model, its layers or num_experts'
  const isKept = recipe.recompute === 'none' && activations > working
  if (!isKept) return 'lower data.batchSize'
  return isEncoderDecoder(config) || recipe.losses.localized // whose layers are not run again
    ? 'lower data.batchSize or data.sequenceLength'
    : 'set recompute: layers, or lower data.batchSize'
}

const gib = (bytes: number): string => (bytes / 2 ** 30).toFixed(1)
