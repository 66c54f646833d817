import { describe, expect, test } from 'vitest'
import { four, identity, z } from '../../../tests/support/router-examples.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import { ones } from '../../torch/index.ts'
import { medianRatio, skipWeak, TopKRouter } from '../index.ts'

describe('dynamic skipping', () => {
  const routing = identity(new TopKRouter({ ...four, topK: 2 })).forward(z)

  test('0 changes nothing, above 1 leaves the first, between it drops what is weak and keeps the sum', () => {
    expectClose(skipWeak(routing, 0).weights, routing.weights, 1e-12)
    expect(skipWeak(routing, 1.01).indices.tolist()).toEqual([
      [0, -1],
      [3, -1],
      [1, -1],
    ])
    const some = skipWeak(routing, 0.3) // second over first: 0.368, 0.135, 0.368
    expect(some.indices.tolist()).toEqual([
      [0, 1],
      [3, -1],
      [1, 0],
    ])
    expectClose(some.weights.sum(-1), ones([3], { dtype: 'f64' }), 1e-12)
    expect(medianRatio([routing])).toBeCloseTo(Math.exp(-1), 6)
  })
})
