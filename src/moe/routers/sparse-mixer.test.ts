import { expect, test } from 'vitest'
import { four, identity, rounded, z } from '../../../tests/support/router-examples.ts'
import { SparseMixerRouter } from '../index.ts'

const make = (closeness: number): SparseMixerRouter => identity(new SparseMixerRouter({ ...four, closeness }))

test('each choice is a softmax over those that come close to it, the second without the first', () => {
  const { indices, weights } = make(0.5).forward(z)
  // z = 2 1 0 -1. First: (2 - z) / max(|z|, 2) = 0 .5 1 1.5, so that only -1 is too far: e^2 / (e^2 + e + 1).
  // Second: (1 - z) / max(|z|, 1) = -.5 0 1 2, without the first: e / (e + 1).
  expect(indices.select(0, 0).tolist()).toEqual([0, 1])
  expect(rounded(weights.select(0, 0), 6)).toEqual([0.665241, 0.731059])
})

test('with nothing close both weigh one', () =>
  expect(rounded(make(0.01).forward(z).weights.select(0, 0))).toEqual([1, 1]))

test('one expert is too few', () =>
  expect(() => new SparseMixerRouter({ hiddenSize: 4, numExperts: 1 })).toThrow(
    'needs at least 2 experts, got 1',
  ))
