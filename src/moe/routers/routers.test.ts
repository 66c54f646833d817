// All routers by which tokens choose, through the tests that they share.
import { describe } from 'vitest'
import { type RouterCase, runRouterTests } from '../../../tests/support/router-runner.ts'
import {
  BaseRouter,
  BiasedTopKRouter,
  CentroidRouter,
  CosineRouter,
  GroupLimitedRouter,
  HashRouter,
  HierarchicalRouter,
  NoisyTopKRouter,
  NullExpertRouter,
  ReinforceRouter,
  SequenceRouter,
  SinkhornRouter,
  SparseMixerRouter,
  TaskRouter,
  Top2Router,
  TopKRouter,
  TopPRouter,
  WordRouter,
} from '../index.ts'

const hiddenSize = 6
const atMost = (topK: number, numExperts: number): number => Math.min(topK, numExperts)

const cases: Record<string, RouterCase> = {
  'dense mixture': { make: n => new TopKRouter({ hiddenSize, numExperts: n, topK: n }), sum: 'one' },
  'top-k, softmax first': {
    make: n => new TopKRouter({ hiddenSize, numExperts: n, topK: atMost(2, n), normalize: false }),
    sum: 'at most one',
  },
  'top-k, Mixtral': {
    make: n => new TopKRouter({ hiddenSize, numExperts: n, topK: atMost(2, n), order: 'topk-softmax' }),
    sum: 'one',
  },
  Switch: {
    make: n => new TopKRouter({ hiddenSize, numExperts: n, topK: 1, normalize: false, jitter: 0.01 }),
    sum: 'at most one',
  },
  'noisy top-k': {
    make: n => new NoisyTopKRouter({ hiddenSize, numExperts: n, topK: atMost(2, n) }),
    sum: 'one',
  },
  'top-2, all': { make: n => new Top2Router({ hiddenSize, numExperts: n }), sum: 'one', fewest: 2 },
  'top-2, none': {
    make: n => new Top2Router({ hiddenSize, numExperts: n, policy: 'none', normalize: false }),
    sum: 'at most one',
    fewest: 2,
  },
  'top-2, threshold': {
    make: n => new Top2Router({ hiddenSize, numExperts: n, policy: 'threshold' }),
    sum: 'at most one',
    fewest: 2,
  },
  'top-2, random': {
    make: n => new Top2Router({ hiddenSize, numExperts: n, policy: 'random' }),
    sum: 'at most one',
    fewest: 2,
  },
  'top-2, sampling': {
    make: n => new Top2Router({ hiddenSize, numExperts: n, policy: 'sampling', normalize: false }),
    sum: 'at most one',
    fewest: 2,
  },
  'sigmoid scores with bias': {
    make: n => new BiasedTopKRouter({ hiddenSize, numExperts: n, topK: atMost(2, n) }),
    sum: 'one',
  },
  'sigmoid scores in groups': {
    make: n =>
      new BiasedTopKRouter({
        hiddenSize,
        numExperts: n,
        topK: 1,
        groups: 2,
        topGroups: 1,
        normalize: false,
        scale: 0.5,
      }),
    sum: 'at most one',
    fewest: 2,
  },
  'softmax in groups': {
    make: n =>
      new GroupLimitedRouter({
        hiddenSize,
        numExperts: n,
        topK: 1,
        groups: n % 2 === 0 ? 2 : 1,
        topGroups: 1,
        scale: 0.5,
      }),
    sum: 'at most one',
  },
  'sparse mixer': {
    make: n => new SparseMixerRouter({ hiddenSize, numExperts: n, closeness: 0.5 }),
    sum: 'any',
    fewest: 2,
  },
  'top-k with a bias of the logits': {
    make: n =>
      new TopKRouter({ hiddenSize, numExperts: n, topK: atMost(2, n), order: 'topk-softmax', bias: true }),
    sum: 'one',
  },
  hash: {
    make: n => new HashRouter({ numExperts: n, vocabSize: 20 }),
    sum: 'number of slots',
    learns: false,
  },
  'multi-hash': {
    make: n =>
      new HashRouter({
        numExperts: n,
        vocabSize: 20,
        hashes: 2,
        frequencies: Array.from({ length: 20 }, (_, i) => i),
      }),
    sum: 'number of slots',
    learns: false,
    fewest: 2,
  },
  words: {
    make: n => {
      const router = new WordRouter({ numExperts: n, vocabSize: 20 })
      router.assign(
        Array.from({ length: 20 }, (_, id) => id >> 1),
        Array.from({ length: 20 }, (_, id) => id),
      )
      return router
    },
    sum: 'number of slots',
    learns: false,
  },
  BASE: { make: n => new BaseRouter({ hiddenSize, numExperts: n }), sum: 'at most one' },
  'Sinkhorn, top-1': {
    make: n => new SinkhornRouter({ hiddenSize, numExperts: n, topK: 1 }),
    sum: 'at most one',
  },
  'Sinkhorn, top-2': {
    make: n => new SinkhornRouter({ hiddenSize, numExperts: n, topK: atMost(2, n) }),
    sum: 'one',
  },
  centroids: {
    make: n => new CentroidRouter({ hiddenSize, numExperts: n }),
    sum: 'at most one',
    learns: false,
  },
  REINFORCE: {
    make: n => new ReinforceRouter({ hiddenSize, numExperts: n }),
    sum: 'number of slots',
    learns: false,
  },
  cosine: { make: n => new CosineRouter({ hiddenSize, numExperts: n, topK: atMost(2, n) }), sum: 'one' },
  'top-p': { make: n => new TopPRouter({ hiddenSize, numExperts: n }), sum: 'at most one' },
  'null experts': { make: n => new NullExpertRouter({ hiddenSize, numExperts: n, topK: 2 }), sum: 'one' },
  hierarchical: {
    make: n =>
      new HierarchicalRouter({ hiddenSize, numExperts: n, groups: 2, topGroups: 1, topK: atMost(2, n / 2) }),
    sum: 'one',
    fewest: 2,
  },
  'whole tasks': {
    make: n => new TaskRouter({ hiddenSize, numExperts: n, topK: 1, normalize: false, numTasks: 3 }),
    sum: 'at most one',
  },
  'whole sequences': {
    make: n => new SequenceRouter({ hiddenSize, numExperts: n, topK: atMost(2, n) }),
    sum: 'one',
    perToken: false,
  },
}

for (const [name, routerCase] of Object.entries(cases)) describe(name, () => runRouterTests(routerCase))
