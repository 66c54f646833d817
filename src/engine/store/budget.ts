// How many bytes of a model's experts fit beside everything else that a process holds.
// Shapes: T tokens that are read at once, K choices, D model, W and F widths of experts.

import { ConfigError } from '../../errors.ts'
import type { GgmlTypeName } from '../../formats/index.ts'
import { type AnyModelConfig, type ExpertRows, memoryNeeds, prefillChunk } from '../../models/index.ts'
import { MoeLayer } from '../../moe/index.ts'
import type { KvType, Module } from '../../nn/index.ts'
import { copyBytes } from './copies.ts'
import { allBytes, type LayerRows, leastBytes } from './layer-rows.ts'

/** What a process is to stay within. */
export interface Budget {
  /** Bytes of everything: of the process, weights, cache, what is computed. */
  memory: number
  /** Tokens of all texts together, for whose keys and values there is to be room. */
  context: number
  /** What these are kept in, as the generation is told. Default f32. */
  kv?: KvType | undefined
  /** Where not all experts fit, the type of which all have a copy in memory. Default: none has. */
  copies?: GgmlTypeName | undefined
}

/** Bytes, which add up to the budget, or to less where all experts fit. */
export interface BudgetPlan {
  /** Of the process and all weights that are not experts'. */
  fixed: number
  /** Keys and values of the context. */
  cache: number
  /** What is computed of a chunk, and what the runtime grows by. */
  working: number
  /** Copies of all experts in fewer bits. */
  copies: number
  /** Of experts that can be resident. */
  experts: number
  /** Of all experts. */
  allExperts: number
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
  { fixed, budget: { memory, context, kv, copies: type } }: { fixed: number; budget: Budget },
): BudgetPlan {
  const numExperts = expertsOf(model)
  const cache = context * memoryNeeds(config, 'f32', kv).cachePerToken
  const working =
    growth + readerBytes(layers) + Math.min(prefillChunk, context) * bytesPerToken(model, layers)
  const [least, allExperts] = [leastBytes(layers), allBytes(layers, numExperts)]
  const room = Math.floor(memory - fixed - cache - working)
  const copies = type === undefined || room >= allExperts ? 0 : copyBytes(layers, numExperts, type)
  if (copies >= allExperts)
    throw new ConfigError(
      `copies of ${copies} bytes for experts of ${allExperts} save nothing: take fewer bits`,
      {
        path: 'onMiss',
      },
    )
  const left = room - copies
  if (left < least) {
    const megabytes = (bytes: number): string => `${Math.ceil(bytes / 1e6)} MB`
    const ofCopies = copies > 0 ? `, ${megabytes(copies)} by copies of experts` : ''
    throw new ConfigError(
      `${megabytes(memory)} are too little: ${megabytes(fixed)} are taken without experts, ${megabytes(cache)} by a cache of ${context} tokens, ${megabytes(working)} by what is computed${ofCopies}; the least that works is ${megabytes(memory - left + least)}`,
      { path: 'memory' },
    )
  }
  return { fixed, cache, working, copies, experts: Math.min(left, allExperts), allExperts }
}

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
