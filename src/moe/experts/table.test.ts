import { describe, expect, test } from 'vitest'
import { expectSameAsLoop } from '../../../tests/support/experts.ts'
import { declared } from '../../nn/index.ts'
import { manualSeed } from '../../torch/index.ts'
import {
  type ExpertsOptions,
  expertsSchema,
  MoeLayer,
  makeExperts,
  PeerLayer,
  SoftRouter,
  TopKRouter,
} from '../index.ts'

const sizes = { numExperts: 4, hiddenSize: 8, intermediateSize: 16 }

/** Settings as recipes have them, and elements that one expert has for itself. */
const all: [settings: Record<string, unknown>, own: number, shared: number][] = [
  [{ kind: 'gated', dropout: 0 }, 3 * 8 * 16, 0],
  [{ kind: 'plain' }, 2 * 8 * 16, 0],
  [{ kind: 'clamped' }, 3 * 8 * 16 + 2 * 16 + 8, 0],
  [{ kind: 'shared-base', rank: 2 }, 3 * 2 * (8 + 16), 3 * 8 * 16],
  [{ kind: 'matrix-product', outer: 2, bond: 3 }, 3 * 2 * 4 * 3, 3 * 3 * 3 * 2 * 4],
  [{ kind: 'heterogeneous', widths: [4, 8, 12, 16] }, 3 * 8 * 10, 0],
]

function optionsOf(settings: Record<string, unknown>): ExpertsOptions {
  const config = expertsSchema.parse(settings)
  if (config.kind === 'peer') throw new Error('PEER is a layer of its own')
  return { ...config, ...sizes }
}

describe.each(all)('%o', (settings, own, shared) => {
  test('are made from a recipe, and equal the loop over experts', () => {
    manualSeed(1)
    using experts = makeExperts(optionsOf(settings))
    expect(experts.numParameters).toBe(4 * own + shared)
    expectSameAsLoop(experts, { tokens: 9, hidden: 8, numExperts: 4, topK: 2 })
  })

  test('a token does not use what belongs to other experts', () => {
    const inactive = (active: number): number =>
      declared(
        () =>
          new MoeLayer(new TopKRouter({ ...sizes, topK: active }), makeExperts(optionsOf(settings)))
            .inactiveParameters,
      )
    expect([1, 3, 4].map(inactive)).toEqual([3 * own, own, 0])
  })
})

test('soft routing uses all experts; PEER those that are retrieved', () => {
  declared(() => {
    const experts = makeExperts({ kind: 'gated', ...sizes })
    expect(new MoeLayer(new SoftRouter(sizes), experts).inactiveParameters).toBe(0)
    const peer = { hiddenSize: 8, numExperts: 64, topK: 3, querySize: 4 }
    expect(new PeerLayer({ ...peer, heads: 2 }).inactiveParameters).toBe((64 - 6) * 2 * 8)
    expect(new PeerLayer({ ...peer, heads: 50 }).inactiveParameters).toBe(0)
  })
})

test('stacked parameters say so, biases too', () => {
  const stacked = (settings: Record<string, unknown>): string[] =>
    declared(() =>
      [...makeExperts(optionsOf(settings)).declarations()].flatMap(([path, { stacked }]) =>
        stacked ? path : [],
      ),
    )
  expect(stacked({ kind: 'gated' })).toEqual(['gate_up_proj', 'down_proj'])
  expect(stacked({ kind: 'clamped' })).toEqual([
    'gate_up_proj',
    'gate_up_proj_bias',
    'down_proj',
    'down_proj_bias',
  ])
  expect(stacked({ kind: 'heterogeneous', widths: [1, 2, 3, 4] })).toEqual([])
})

test('widths must be one for each expert', () => {
  expect(() => makeExperts({ kind: 'heterogeneous', ...sizes, widths: [4, 8] })).toThrow(
    'experts.widths: has 2 widths for 4 experts',
  )
})
