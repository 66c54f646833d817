import { describe, expect, test } from 'vitest'
import { expectClose } from '../../../tests/support/tensors.ts'
import { manualSeed, randn } from '../../torch/index.ts'
import {
  capacityDispatch,
  createDispatch,
  type Dispatch,
  dispatchSchema,
  dropless,
  GatedExperts,
  MoeLayer,
  referenceDispatch,
  skipWeak,
  TopKRouter,
} from '../index.ts'

const sizes = { hiddenSize: 6, numExperts: 4 }
const x = randn([12, 6], { dtype: 'f64', seed: 1 })
const made = (settings: unknown): Dispatch => createDispatch(dispatchSchema.parse(settings))

function layerOf(dispatch: Dispatch): MoeLayer {
  manualSeed(1)
  const experts = new GatedExperts({ ...sizes, intermediateSize: 5 })
  return new MoeLayer(new TopKRouter({ ...sizes, topK: 2 }), experts, dispatch).to('f64')
}

test('a kind alone stands for its defaults, and no kind for dropless', () => {
  expect(made({})).toBe(dropless)
  expect(made('reference')).toBe(referenceDispatch)
  expect(dispatchSchema.parse({ kind: 'capacity', factor: 1 })).toEqual({
    kind: 'capacity',
    factor: 1,
    policy: 'position',
    renormalize: false,
    retries: 0,
    share: 'choices',
    minimum: 4,
  })
})

test('settings become the dispatch that they name', () => {
  const settings = { kind: 'capacity', factor: 0.5, evalFactor: 2, minimum: 1, retries: 1 }
  const [a, b] = [
    layerOf(made(settings)),
    layerOf(capacityDispatch({ factor: 0.5, evalFactor: 2, minimum: 1, retries: 1 })),
  ]
  for (const training of [true, false]) {
    expect(a.train(training).forward(x).served.indices.tolist()).toEqual(
      b.train(training).forward(x).served.indices.tolist(),
    )
  }
  expect(a.train().forward(x).served.indices.eq(-1).any().item()).toBe(1)
})

describe('evalSkip', () => {
  test('leaves out weak experts in evaluation, and trains on all', () => {
    const layer = layerOf(made({ evalSkip: 0.6 }))
    const { routing, served } = layer.train().forward(x)
    expect(served).toBe(routing)
    const { routing: chosen, served: kept, y } = layer.eval().forward(x)
    const wanted = skipWeak(chosen, 0.6)
    expect(kept.indices.tolist()).toEqual(wanted.indices.tolist())
    expect(kept.indices.eq(-1).any().item()).toBe(1)
    expectClose(y, layer.experts.mix(x, wanted), 0)
  })
})

test('a dispatch of another kind is an object of one method', () => {
  const seen: unknown[] = []
  const counting: Dispatch = {
    mix(rows, chosen, experts, { training, starts }) {
      seen.push([training, starts])
      return { y: experts.mix(rows, chosen), served: chosen }
    },
  }
  const layer = layerOf(counting)
  expectClose(layer.forward(x).y, layerOf(dropless).forward(x).y, 0)
  expect(seen).toEqual([[true, [0, 12]]])
})
