// Every architecture that writes text, over keys and values in each type that they can be kept in.

import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { expectNoLeak } from '../../../tests/support/tensors.ts'
import type { KvType } from '../../nn/index.ts'
import { manualSeed, noGrad, withKernels } from '../../torch/index.ts'
import {
  createModel,
  Generation,
  memoryNeeds,
  modelTypes,
  openModel,
  parseModelConfig,
  type Rows,
  startSession,
  type TextModel,
} from '../index.ts'
import { decoderSession } from './decoder-session.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../tests/fixtures/${name}`, import.meta.url))

/** Those without a recorded model. */
const small = {
  vocab_size: 60,
  hidden_size: 16,
  intermediate_size: 16,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
}
const configs: Record<string, object> = {
  mistral: { ...small, sliding_window: 3 },
  switchyard_moe: { ...small, num_local_experts: 4, router: { kind: 'top-k', k: 2 } },
}

function load(name: string): TextModel {
  const folder = fixture(name.replaceAll('-', '_'))
  if (existsSync(folder)) return openModel(folder).load({ kind: 'text' })
  manualSeed(1)
  const model = createModel(parseModelConfig({ model_type: name, ...configs[name] }, 'test')) as TextModel
  noGrad(() => {
    // Larger weights than at the start of training, so that logits tell models apart.
    for (const parameter of model.parameters()) if (parameter.ndim > 1) parameter.mul_(5)
  })
  return model.eval()
}

const prompts = [
  [5, 6, 7, 8, 9, 10],
  [11, 12],
  [20, 21, 22, 23],
]
const written = [
  [3, 1, 4],
  [1, 5, 9],
  [2, 6, 5],
  [3, 5, 8],
]

/** Scores of the prompts and of each step after them. */
function scoresOf(model: TextModel, kv: KvType, chunk?: number): number[] {
  using session = startSession(model, { prompts, newTokens: written.length, kv, chunk })
  const steps: Rows[] = [session.first, ...written.map(ids => ids.map(id => [id]))]
  return steps.flatMap(fresh => session.next(fresh).flatMap(row => [...row]))
}

function greedy(model: TextModel, kv: KvType): number[] {
  using generation = new Generation(model, prompts, { temperature: 0, maxNewTokens: 8, stopIds: [], kv })
  const ids: number[] = []
  while (!generation.isOver) ids.push(...generation.step().map(({ id }) => id))
  return ids
}

/** How far scores are from others, by the size of these. */
function distance(scores: readonly number[], from: readonly number[]): number {
  const squares = (of: (i: number) => number): number =>
    Math.sqrt(from.reduce((sum, _, i) => sum + of(i) ** 2, 0))
  return squares(i => (scores[i] ?? Number.NaN) - (from[i] as number)) / squares(i => from[i] as number)
}

describe.each(modelTypes.filter(type => !type.endsWith('_encoder')))('%s', name => {
  test('f16 writes what f32 writes; q8_0 scores nearly the same', () => {
    using model = load(name)
    expect(greedy(model, 'f16')).toEqual(greedy(model, 'f32'))
    expectNoLeak(() => {
      const scores = scoresOf(model, 'f32')
      // A block of Q8_0 is off by 0.6% of a number's size (attention-cached.test.ts). Keys and values of each layer add an
      // error of that size to what attention gives, independent of the others; where a router changes its choice by it,
      // scores change by more.
      const off = 3 * 0.006 * Math.sqrt(2 * model.cacheShapes.length)
      expect(distance(scoresOf(model, 'q8_0'), scores)).toBeLessThan(off)
      // A half is off by 2^-11 at most.
      expect(distance(scoresOf(model, 'f16'), scores)).toBeLessThan((off * 2 ** -11) / 0.006)
      expect(distance(scoresOf(model, 'q8_0'), scores)).toBeGreaterThan(1e-5)
    })
  })

  test.each(['f16', 'q8_0'] as const)('%s: read in parts, and without kernels, the same', kv => {
    using model = load(name)
    const whole = scoresOf(model, kv)
    // Sums in f32 in another order, by which a number may be rounded to its other neighbour: seldom, and by 1/127 of one.
    for (const other of [scoresOf(model, kv, 2), withKernels([], () => scoresOf(model, kv))])
      expect(distance(other, whole)).toBeLessThan(1e-3)
  })
})

test('a cache takes what is told of it', () => {
  const opened = openModel(fixture('mixtral'))
  using model = opened.load({ kind: 'decoder' })
  const bytes = (kv: 'f32' | 'f16' | 'q8_0'): number => {
    using session = decoderSession(model, { prompts: [[1, 2, 3]], newTokens: 5, kv })
    const { cache } = session
    const elements = cache.layers.flatMap((_, layer) => Object.values(cache.rowsOfLayer(layer)))
    return elements.reduce((sum, { numel }) => sum + numel, 0) * { f32: 4, f16: 2, q8_0: 1 }[kv]
  }
  for (const kv of ['f32', 'f16', 'q8_0'] as const)
    expect(bytes(kv)).toBe(8 * memoryNeeds(opened.config, 'f32', kv).cachePerToken)
})

test('a model that computes in another type keeps it, and refuses others in one line', () => {
  using model = openModel(fixture('mixtral')).load({ kind: 'text', dtype: 'f64' })
  expect(() => greedy(model, 'q8_0')).toThrow(
    'kv: q8_0 is not for a model that computes in f64 on cpu: leave it out (f16 and q8_0 are for f32 on a CPU)',
  )
})
