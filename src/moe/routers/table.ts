// Every router by the name that recipes and config.json give it.

import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { kinds } from '../../kinds.ts'
import type { Module } from '../../nn/index.ts'
import type { Router, Routing } from '../routing.ts'
import { BaseRouter } from './base.ts'
import { BiasedTopKRouter } from './biased-top-k.ts'
import { CentroidRouter } from './centroids.ts'
import { CosineRouter } from './cosine.ts'
import { ExpertChoiceRouter } from './expert-choice.ts'
import { SequenceRouter, TaskRouter } from './grouped-tokens.ts'
import { HashRouter } from './hash.ts'
import { HierarchicalRouter } from './hierarchical.ts'
import { NoisyTopKRouter } from './noisy-top-k.ts'
import { NullExpertRouter } from './null-experts.ts'
import { ReinforceRouter } from './reinforce.ts'
import { SinkhornRouter } from './sinkhorn.ts'
import { SoftRouter } from './soft.ts'
import { Top2Router } from './top-2.ts'
import { TopKRouter } from './top-k.ts'
import { TopPRouter } from './top-p.ts'
import { WordRouter } from './words.ts'

const count = z.int().positive()
const jitter = z.number().min(0).lt(1).default(0)

const schemas = {
  'top-k': z.strictObject({
    kind: z.literal('top-k'),
    k: count.default(2),
    /** Rescale the weights to sum to one. With k = 1 they must not be, or the router learns nothing. */
    normalize: z.boolean().default(true),
    jitter,
  }),
  'noisy-top-k': z.strictObject({ kind: z.literal('noisy-top-k'), k: count.default(2) }),
  'top-2': z.strictObject({
    kind: z.literal('top-2'),
    policy: z.enum(['all', 'none', 'threshold', 'random', 'sampling']).default('all'),
    threshold: z.number().positive().default(0.2),
    normalize: z.boolean().default(true),
    jitter,
  }),
  'biased-top-k': z.strictObject({
    kind: z.literal('biased-top-k'),
    k: count.default(2),
    score: z.enum(['sigmoid', 'softmax']).default('sigmoid'),
    groups: count.default(1),
    /** Default: all groups. */
    topGroups: count.optional(),
    /** Default: when k is above 1. */
    normalize: z.boolean().optional(),
    scale: z.number().positive().default(1),
    biasRate: z.number().nonnegative().default(0.001),
  }),
  'top-p': z.strictObject({ kind: z.literal('top-p'), threshold: z.number().min(0).max(1).default(0.4) }),
  'null-experts': z.strictObject({
    kind: z.literal('null-experts'),
    k: count.default(2),
    /** Default: as many as true experts. */
    nullExperts: count.optional(),
  }),
  cosine: z.strictObject({
    kind: z.literal('cosine'),
    k: count.default(2),
    /** Default: half the experts, at least 2. */
    routingSize: count.optional(),
    temperature: z.number().positive().default(0.07),
  }),
  hierarchical: z.strictObject({
    kind: z.literal('hierarchical'),
    groups: count,
    topGroups: count.default(2),
    k: count.default(2),
  }),
  sinkhorn: z.strictObject({ kind: z.literal('sinkhorn'), k: count.default(1) }),
  base: z.strictObject({ kind: z.literal('base') }),
  hash: z.strictObject({
    kind: z.literal('hash'),
    hashes: count.default(1),
    seed: z.int().nonnegative().default(0),
  }),
  words: z.strictObject({ kind: z.literal('words') }),
  centroids: z.strictObject({
    kind: z.literal('centroids'),
    momentum: z.number().min(0).max(1).default(0.99),
    patience: count.default(100),
  }),
  reinforce: z.strictObject({ kind: z.literal('reinforce') }),
  task: z.strictObject({
    kind: z.literal('task'),
    k: count.default(2),
    /** Names of the tasks. Default in a recipe: the corpus's domains. */
    tasks: z.array(z.string().min(1)).min(1).optional(),
  }),
  sequence: z.strictObject({
    kind: z.literal('sequence'),
    k: count.default(2),
    normalize: z.boolean().default(true),
  }),
  'expert-choice': z.strictObject({
    kind: z.literal('expert-choice'),
    capacity: z.number().positive().default(2),
    /** Default: any number. */
    maxExperts: count.optional(),
  }),
  soft: z.strictObject({ kind: z.literal('soft'), slots: count.default(1) }),
} as const

export type RouterKind = keyof typeof schemas

/** Settings of a router, told apart by `kind`; top-k when they name none. */
export const routerSchema = kinds(
  schemas['top-k'],
  schemas['noisy-top-k'],
  schemas['top-2'],
  schemas['biased-top-k'],
  schemas['top-p'],
  schemas['null-experts'],
  schemas.cosine,
  schemas.hierarchical,
  schemas.sinkhorn,
  schemas.base,
  schemas.hash,
  schemas.words,
  schemas.centroids,
  schemas.reinforce,
  schemas.task,
  schemas.sequence,
  schemas['expert-choice'],
  schemas.soft,
)

export type RouterConfig = z.infer<typeof routerSchema>
type ConfigOf<K extends RouterKind> = Extract<RouterConfig, { kind: K }>

/** What a router needs to know of its model. */
export interface RouterSizes {
  hiddenSize: number
  numExperts: number
  vocabSize: number
}

interface RouterEntry<K extends RouterKind> {
  make(config: ConfigOf<K>, sizes: RouterSizes): Module & Router<Routing>
  /** Shapes of its parameters and buffers by path, known without making it. */
  shapes(config: ConfigOf<K>, sizes: RouterSizes): Record<string, number[]>
  /** Experts that a token uses, at most; what a dense twin is made by. */
  active(config: ConfigOf<K>, sizes: RouterSizes): number
  /** Coefficients of its own losses, as its paper has them. */
  ownLosses?: Readonly<Record<string, number>>
}

const weight = (_: unknown, { numExperts, hiddenSize }: RouterSizes): Record<string, number[]> => ({
  weight: [numExperts, hiddenSize],
})
const byK = ({ k }: { k: number }): number => k
const one = (): number => 1

const table: { readonly [K in RouterKind]: RouterEntry<K> } = {
  'top-k': {
    make: ({ k, normalize, jitter }, sizes) => new TopKRouter({ ...sizes, topK: k, normalize, jitter }),
    shapes: weight,
    active: byK,
  },
  'noisy-top-k': {
    make: ({ k }, sizes) => new NoisyTopKRouter({ ...sizes, topK: k }),
    shapes: (config, sizes) => ({
      ...weight(config, sizes),
      noise_weight: [sizes.numExperts, sizes.hiddenSize],
    }),
    active: byK,
    ownLosses: { importance: 0.1, load: 0.1 },
  },
  'top-2': {
    make: (config, sizes) => new Top2Router({ ...sizes, ...config }),
    shapes: weight,
    active: () => 2,
  },
  'biased-top-k': {
    make: ({ k, topGroups, normalize = k > 1, ...config }, sizes) =>
      new BiasedTopKRouter({ ...sizes, ...config, normalize, topK: k, ...(topGroups && { topGroups }) }),
    shapes: (config, sizes) => ({ ...weight(config, sizes), e_score_correction_bias: [sizes.numExperts] }),
    active: byK,
  },
  'top-p': {
    make: ({ threshold }, sizes) => new TopPRouter({ ...sizes, threshold }),
    shapes: weight,
    active: (_, { numExperts }) => numExperts,
    ownLosses: { entropy: 1e-4 },
  },
  'null-experts': {
    make: ({ k, nullExperts = 0 }, sizes) => new NullExpertRouter({ ...sizes, topK: k, nullExperts }),
    shapes: ({ nullExperts }, { numExperts, hiddenSize }) => ({
      weight: [numExperts + (nullExperts ?? numExperts), hiddenSize],
    }),
    active: byK,
    ownLosses: { balance: 0.01 },
  },
  cosine: {
    make: ({ k, routingSize, temperature }, sizes) =>
      new CosineRouter({ ...sizes, topK: k, temperature, ...(routingSize && { routingSize }) }),
    shapes: ({ routingSize }, { numExperts, hiddenSize }) => {
      const size = routingSize ?? Math.max(2, numExperts >> 1)
      return { weight: [size, hiddenSize], expert_embeddings: [numExperts, size], log_temperature: [] }
    },
    active: byK,
  },
  hierarchical: {
    make: ({ groups, topGroups, k }, sizes) =>
      new HierarchicalRouter({ ...sizes, groups, topGroups, topK: k }),
    shapes: ({ groups }, { numExperts, hiddenSize }) => ({
      primary_weight: [groups, hiddenSize],
      primary_noise_weight: [groups, hiddenSize],
      weight: [numExperts, hiddenSize],
      noise_weight: [numExperts, hiddenSize],
    }),
    active: ({ topGroups, k }) => topGroups * k,
    ownLosses: { primaryImportance: 0.1, primaryLoad: 0.1, importance: 0.1, load: 0.1 },
  },
  sinkhorn: {
    make: ({ k }, sizes) => new SinkhornRouter({ ...sizes, topK: k }),
    shapes: weight,
    active: byK,
  },
  base: { make: (_, sizes) => new BaseRouter(sizes), shapes: weight, active: one },
  hash: {
    make: ({ hashes, seed }, { numExperts, vocabSize }) =>
      new HashRouter({ numExperts, vocabSize, hashes, seed }),
    shapes: ({ hashes }, { vocabSize }) => ({ table: [hashes, vocabSize] }),
    active: ({ hashes }) => hashes,
  },
  words: {
    make: (_, sizes) => new WordRouter(sizes),
    shapes: (_, { vocabSize }) => ({ table: [1, vocabSize] }),
    active: one,
  },
  centroids: {
    make: ({ momentum, patience }, sizes) => new CentroidRouter({ ...sizes, momentum, patience }),
    shapes: (_, { numExperts, hiddenSize }) => ({ centroids: [numExperts, hiddenSize], idle: [numExperts] }),
    active: one,
  },
  reinforce: {
    make: (_, sizes) => new ReinforceRouter(sizes),
    shapes: weight,
    active: one,
    ownLosses: { policy: 1, certainty: 0.01 },
  },
  task: {
    make: ({ k, tasks = [] }, sizes) => new TaskRouter({ ...sizes, topK: k, numTasks: tasks.length }),
    shapes: ({ tasks = [] }, { numExperts, hiddenSize }) => ({
      'task_embedding.weight': [tasks.length, hiddenSize],
      'gate.weight': [numExperts, hiddenSize],
    }),
    active: byK,
  },
  sequence: {
    make: ({ k, normalize }, sizes) => new SequenceRouter({ ...sizes, topK: k, normalize }),
    shapes: (_, { numExperts, hiddenSize }) => ({ 'gate.weight': [numExperts, hiddenSize] }),
    active: byK,
  },
  'expert-choice': {
    make: ({ capacity, maxExperts }, sizes) =>
      new ExpertChoiceRouter({ ...sizes, capacity, ...(maxExperts && { maxExperts }) }),
    shapes: weight,
    active: ({ capacity }) => Math.ceil(capacity),
  },
  soft: {
    make: ({ slots }, sizes) => new SoftRouter({ ...sizes, slots }),
    shapes: ({ slots }, { numExperts, hiddenSize }) => ({ phi: [numExperts * slots, hiddenSize], scale: [] }),
    active: (_, { numExperts }) => numExperts,
  },
}

const entryOf = (config: RouterConfig): RouterEntry<RouterKind> =>
  table[config.kind] as RouterEntry<RouterKind>

/** Routers that weigh their one expert by 1 whatever it scored, so that the task teaches them nothing. */
export function hasConstantWeight(config: RouterConfig): boolean {
  switch (config.kind) {
    case 'top-k':
    case 'biased-top-k':
    case 'sequence':
      return config.k === 1 && config.normalize === true
    case 'noisy-top-k':
    case 'cosine':
    case 'null-experts':
    case 'task':
      return config.k === 1
    case 'hierarchical':
      return config.k === 1 && config.topGroups === 1
    default:
      return false
  }
}

/** Routers by which experts choose, everything mixes, or sequences go as one: a token's output depends on later ones. */
const lookAhead: ReadonlySet<RouterKind> = new Set(['sequence', 'expert-choice', 'soft'])

/** Whether tokens choose experts, so that capacity and balance losses have a meaning. */
export function tokensChoose({ kind }: RouterConfig): boolean {
  return kind !== 'expert-choice' && kind !== 'soft'
}

/**
 * Refuses what a causal decoder cannot use.
 *
 * @param path of the setting, for the error
 * @throws ConfigError
 */
export function requireCausal({ kind }: RouterConfig, path: string): void {
  if (!lookAhead.has(kind)) return
  throw new ConfigError(
    `${kind} routes a token by what follows it, which a decoder does not know when it writes; use it in an encoder ` +
      '(switchyard_moe_encoder), or here one of top-k, top-2, biased-top-k',
    { path },
  )
}

export function createRouter(config: RouterConfig, sizes: RouterSizes): Module & Router<Routing> {
  return entryOf(config).make(config, sizes)
}

export function routerShapes(config: RouterConfig, sizes: RouterSizes): Record<string, number[]> {
  return entryOf(config).shapes(config, sizes)
}

export function activeExperts(config: RouterConfig, sizes: RouterSizes): number {
  return Math.min(sizes.numExperts, entryOf(config).active(config, sizes))
}

/** Coefficients of a router's own losses, by name. */
export function ownLossCoefficients(config: RouterConfig): Readonly<Record<string, number>> {
  return entryOf(config).ownLosses ?? {}
}
