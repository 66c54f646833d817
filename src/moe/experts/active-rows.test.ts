import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { Generation, openModel } from '../../models/index.ts'
import { inferenceMode, randn, tensor, tidy } from '../../torch/index.ts'
import { GatedExperts, MoeLayer, PlainExperts, skipInactive, TopKRouter } from '../index.ts'

const sizes = { numExperts: 6, hiddenSize: 16 }

test.each([
  ['one token', 1, false],
  ['one token, with biases', 1, true],
  ['many tokens', 40, true],
])('%s get what they get from all rows', (_, tokens, bias) => {
  using layer = new MoeLayer(
    new TopKRouter({ ...sizes, topK: 2 }),
    new PlainExperts({ ...sizes, intermediateSize: 48, bias }),
  )
  inferenceMode(() =>
    tidy(() => {
      const x = randn([tokens, 16], { seed: 1 })
      const wanted = layer.forward(x).y
      using _ = skipInactive(layer)
      // Sums of 48 products of f32 in another order.
      expectClose(layer.forward(x).y, wanted, 1e-6)
    }),
  )
})

test('slots that hold no expert add nothing, and neither do experts without an active neuron', () => {
  using experts = new PlainExperts({ ...sizes, intermediateSize: 8 })
  using _ = skipInactive(experts)
  inferenceMode(() =>
    tidy(() => {
      const x = randn([1, 16], { seed: 2 })
      const mix = (indices: number[][]) =>
        experts.mix(x, {
          kind: 'token',
          indices: tensor(indices).long(),
          weights: tensor([[1, 1]]),
          ...{ logits: x, probs: x, mask: null },
        })
      expectClose(mix([[2, -1]]), experts.expert(2, x), 1e-6)
      experts.up_proj.zero_()
      expectClose(mix([[2, 3]]), x.mul(0), 0)
    }),
  )
})

test('a whole model writes with the same probabilities, and again as before', () => {
  const path = fileURLToPath(new URL('../../../tests/fixtures/switch_transformers', import.meta.url))
  using model = openModel(path).load({ kind: 'text', weights: 'decoded' })
  const write = (): { id: number; probability: number }[] => {
    const options = { temperature: 0, maxNewTokens: 12, stopIds: [], logprobs: 0 }
    using generation = new Generation(model, [[5, 6, 7, 8]], options)
    return Array.from({ length: 12 }, () => {
      const [{ id, probabilities } = {}] = generation.step()
      return { id: id as number, probability: probabilities?.logprob as number }
    })
  }
  const wanted = write()
  expectNoLeak(() => {
    using _ = skipInactive(model)
    for (const [i, { id, probability }] of write().entries()) {
      expect(id).toBe(wanted[i]?.id)
      expect(probability).toBeCloseTo(wanted[i]?.probability as number, 4)
    }
  })
  expect(write()).toEqual(wanted)
})

test('others are refused', () => {
  using gated = new GatedExperts({ ...sizes, intermediateSize: 8 })
  expect(() => skipInactive(gated)).toThrow('model: has no experts with ReLU and weights as numbers')
})
