// How many bytes of a model's experts fit beside everything else that a process holds.
// Shapes: T tokens that are read at once, K choices, D model, W and F widths of experts.

import { ConfigError } from '../../errors.ts'
import type { GgmlTypeName } from '../../formats/index.ts'
import { type AnyModelConfig, type ExpertRows, memoryNeeds, prefillChunk } from '../../models/index.ts'
import { MoeLayer } from '../../moe/index.ts'
import type { KvType, Module } from '../../nn/index.ts'
import { itemSize, stagingBytes } from '../../torch/index.ts'
import { copyBytes } from './copies.ts'
import { type DeviceDType, deviceKind } from './device-kind.ts'
import { allBytes, kindOf, type LayerRows, leastBytes } from './layer-rows.ts'

/** What a process is to stay within. */
export interface Budget {
  /** Bytes of everything: of the process, weights, cache, what is computed. */
  memory: number
  /** Tokens of all texts together, for whose keys and values there is to be room. */
  context: number
  /** What these are kept in, as the generation is told. Default: what is computed in. */
  kv?: KvType | undefined
  /** Where not all experts fit, the type of which all have a copy in memory. Default: none has. */
  copies?: GgmlTypeName | undefined
  /** Where another memory is computed in, what is taken of that. Default: none is. */
  device?: DeviceBudget | undefined
}

/** What a model is to stay within on a device that computes. */
export interface DeviceBudget {
  dtype: DeviceDType
  /** Bytes of weights, cache, what is computed, and experts. */
  memory: number
}

/** Bytes, which add up to what there is, or to less where all experts fit. */
export interface MemoryPlan {
  /** Of the process, and of all weights that are there and not experts'. */
  fixed: number
  /** Keys and values of the context. */
  cache: number
  /** What is computed of a chunk, and what the runtime grows by. */
  working: number
  /** Of experts that can be resident. */
  experts: number
  /** Of all experts. */
  allExperts: number
}

export interface BudgetPlan extends MemoryPlan {
  /** Copies of all experts in fewer bits. */
  copies: number
  /** Of the memory of a device that computes; null where there is none. */
  device: MemoryPlan | null
}

/** What JavaScript, its compiler and malloc were seen to add while a model runs. */
const growth = 48e6

/**
 * What is left for experts.
 *
 * @param fixed bytes that the process takes with all other weights in memory
 * @throws ConfigError when not one expert of each kind fits, with the least that does
 */
export function planBudget(
  model: Module,
  config: AnyModelConfig,
  layers: readonly LayerRows[],
  { fixed, budget }: { fixed: number; budget: Budget },
): BudgetPlan {
  const { memory, device, copies: type } = budget
  const numExperts = expertsOf(model)
  const kinds = layers.map(kindOf)
  const text = device ? { cache: 0, working: sendingBytes(layers) } : textBytes(model, config, layers, budget)
  const working = growth + readerBytes(layers) + text.working
  const [least, allExperts] = [leastBytes(kinds), allBytes(kinds, numExperts)]
  const room = Math.floor(memory - fixed - text.cache - working)
  const copies = type === undefined || room >= allExperts ? 0 : copyBytes(layers, numExperts, type)
  if (copies >= allExperts)
    throw new ConfigError(
      `copies of ${copies} bytes for experts of ${allExperts} save nothing: take fewer bits`,
      {
        path: 'onMiss',
      },
    )
  const left = room - copies
  const taken = { fixed, cache: text.cache, working }
  if (left < least) refuse('memory', { ...taken, copies }, { memory, least }, budget)
  return {
    ...taken,
    copies,
    ...{ experts: Math.min(left, allExperts), allExperts },
    device: device ? planDevice(model, config, layers, { ...budget, device }) : null,
  }
}

/** What is left for experts on the device. */
function planDevice(
  model: Module,
  config: AnyModelConfig,
  layers: readonly LayerRows[],
  budget: Budget & { device: DeviceBudget },
): MemoryPlan {
  const { dtype, memory } = budget.device
  const numExperts = expertsOf(model)
  const kinds = layers.map(rows => deviceKind(rows, dtype))
  const [least, allExperts] = [leastBytes(kinds), allBytes(kinds, numExperts)]
  const fixed = itemSize[dtype] * model.numParameters - allExperts
  const taken = { fixed, ...textBytes(model, config, layers, budget) }
  const left = Math.floor(memory - fixed - taken.cache - taken.working)
  if (left < least) refuse('deviceMemory', { ...taken, copies: 0 }, { memory, least }, budget)
  return { ...taken, experts: Math.min(left, allExperts), allExperts }
}

/** @throws ConfigError that says what is taken, and the least that works */
function refuse(
  path: string,
  { fixed, cache, working, copies }: Pick<BudgetPlan, 'fixed' | 'cache' | 'working' | 'copies'>,
  { memory, least }: { memory: number; least: number },
  { context }: Budget,
): never {
  const megabytes = (bytes: number): string => `${Math.ceil(bytes / 1e6)} MB`
  const ofCopies = copies > 0 ? `, ${megabytes(copies)} by copies of experts` : ''
  const needed = Math.ceil(fixed + cache + working + copies) + least
  throw new ConfigError(
    `${megabytes(memory)} are too little: ${megabytes(fixed)} are taken without experts, ${megabytes(cache)} by a cache of ${context} tokens, ${megabytes(working)} by what is computed${ofCopies}; the least that works is ${megabytes(needed)}`,
    { path },
  )
}

/** What texts take where they are computed: keys and values, and what is computed of a chunk. */
function textBytes(
  model: Module,
  config: AnyModelConfig,
  layers: readonly LayerRows[],
  { context, kv, device }: Budget,
): Pick<MemoryPlan, 'cache' | 'working'> {
  const cache = context * memoryNeeds(config, device?.dtype ?? 'f32', kv).cachePerToken
  return { cache, working: Math.min(prefillChunk, context) * bytesPerToken(model, layers) }
}

/** Buffers that copies to a device are made from, and a matrix in f32 and in what is sent. */
const sendingBytes = (layers: readonly LayerRows[]): number =>
  stagingBytes + 8 * Math.max(0, ...layers.flatMap(({ up, down }) => [up, down].map(valuesOf)))
const valuesOf = ({ shape: [rows, columns] }: ExpertRows): number => rows * columns

/**
 * Each of two readers keeps room for the largest matrix that it has read, as much for whole pages around it, and for each
 * step of putting its rows together and in order.
 */
const readerBytes = (layers: readonly LayerRows[]): number =>
  2 * Math.max(0, ...layers.flatMap(({ up, down }) => [up, down].map(roomOf)))

const roomOf = ({ bytes, isApart, isAlternating }: ExpertRows): number =>
  bytes * [true, true, isApart, isAlternating].filter(Boolean).length

const moeLayers = (model: Module): MoeLayer[] =>
  [...model.namedModules()].flatMap(([, module]) => (module instanceof MoeLayer ? module : []))

const expertsOf = (model: Module): number =>
  Math.max(0, ...moeLayers(model).map(({ gate }) => gate.numExperts))

/**
 * f32 and 8-bit rows of one token in the widest MoE layer: hidden and activated ones, outputs twice (sorted, and by choice),
 * and some of the width of the model around them.
 */
function bytesPerToken(model: Module, layers: readonly LayerRows[]): number {
  const choices = Math.max(1, ...moeLayers(model).map(({ gate }) => gate.active))
  const widest = Math.max(
    ...layers.map(({ up, down }) => {
      const [width, inputs] = up.shape
      return choices * (4 * (width + inputs * 2) + 5 * down.shape[1]) + 4 * 16 * inputs
    }),
  )
  return Number.isFinite(widest) ? widest : 0
}
