import { describe, expect, test } from 'vitest'
import { expectClose } from '../../../tests/support/tensors.ts'
import { noGrad, type Tensor, tensor } from '../../torch/index.ts'
import { type DropOptions, dropBeyondCapacity, type TokenRouting, TopKRouter } from '../index.ts'

/** Logits whose softmax is each of these rows, as a leaf. */
const logitsOf = (probs: number[][]): Tensor => tensor(probs, { dtype: 'f64' }).log().requiresGrad_()

/** Experts of one slot each; the weights are the probabilities. */
function served(logits: Tensor, topK: number, options: DropOptions): TokenRouting {
  const numExperts = logits.size(1)
  const router = new TopKRouter({ hiddenSize: numExperts, numExperts, topK, normalize: false }).to('f64')
  noGrad(() => router.weight.zero_().diagonal().fill_(1))
  return dropBeyondCapacity(router.forward(logits), 1, options)
}

const gradientOf = (loss: Tensor, logits: Tensor): Tensor => {
  loss.backward()
  return logits.grad as Tensor
}

describe('a choice that went to the next best expert', () => {
  const even = [
    [0.5, 0.3, 0.2],
    [0.5, 0.3, 0.2],
  ]

  test('weighs its probability, and teaches the router through it', () => {
    const logits = logitsOf(even)
    const { indices, weights } = served(logits, 1, { retries: 1 })
    expect(indices.tolist()).toEqual([[0], [1]])
    expectClose(weights, tensor([[0.5], [0.3]], { dtype: 'f64' }), 1e-12)
    // d p_1 / d z_j = p_1 ([j = 1] - p_j)
    const wanted = [
      [0, 0, 0],
      [-0.15, 0.21, -0.06],
    ]
    expectClose(gradientOf(weights.select(0, 1).sum(), logits), tensor(wanted, { dtype: 'f64' }), 1e-12)
  })

  test('leaves the gradient of the choices that were kept', () => {
    const logits = logitsOf(even)
    const { weights } = served(logits, 1, { retries: 1 })
    const wanted = [
      [0.25, -0.15, -0.1], // p_0 ([j = 0] - p_j)
      [0, 0, 0],
    ]
    expectClose(gradientOf(weights.select(0, 0).sum(), logits), tensor(wanted, { dtype: 'f64' }), 1e-12)
  })

  const two = [
    [0.4, 0.3, 0.2, 0.1],
    [0.4, 0.3, 0.2, 0.1],
  ]

  test('fills one slot of a token with each retry, the best expert first', () => {
    const second = (retries: number): unknown => served(logitsOf(two), 2, { retries }).indices.tolist()
    const kept = [0, 1]
    expect(second(0)).toEqual([kept, [-1, -1]])
    expect(second(1)).toEqual([kept, [2, -1]])
    expect(second(2)).toEqual([kept, [2, 3]])
    expect(second(3)).toEqual([kept, [2, 3]])
  })

  test('is rescaled with the others of its token, and competes with them alone', () => {
    const logits = logitsOf(two)
    const { weights } = served(logits, 2, { retries: 2, renormalize: true })
    const [four, three] = [4 / 7, 3 / 7]
    const wantedWeights = [
      [four, three],
      [2 / 3, 1 / 3],
    ]
    expectClose(weights, tensor(wantedWeights, { dtype: 'f64' }), 1e-12)
    // g = p_2 / (p_2 + p_3) is the softmax of two logits: its derivatives are g (1 - g) and their negative.
    const wanted = [
      [0, 0, 0, 0],
      [0, 0, 2 / 9, -2 / 9],
    ]
    const first = weights.select(0, 1).select(0, 0)
    expectClose(gradientOf(first, logits), tensor(wanted, { dtype: 'f64' }), 1e-12)
  })
})

test('a slot that was dropped for good teaches nothing', () => {
  const logits = logitsOf([
    [0.5, 0.3, 0.2],
    [0.5, 0.3, 0.2],
  ])
  const { indices, weights } = served(logits, 1, {})
  expect(indices.tolist()).toEqual([[0], [-1]])
  const wanted = [
    [0.25, -0.15, -0.1],
    [0, 0, 0],
  ]
  expectClose(gradientOf(weights.sum(), logits), tensor(wanted, { dtype: 'f64' }), 1e-12)
})
