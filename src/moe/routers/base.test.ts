import { expect, test } from 'vitest'
import { identity } from '../../../tests/support/router-examples.ts'
import { expectClose } from '../../../tests/support/tensors.ts'
import { tensor } from '../../torch/index.ts'
import { BaseRouter } from '../index.ts'

const router = identity(new BaseRouter({ hiddenSize: 2, numExperts: 2 }))

test('under a mask each real token is assigned by its own scores', () => {
  // The padding wants the contrary of the token after it.
  const x = tensor(
    [
      [0, 5],
      [5, 0],
      [5, 0],
      [0, 5],
    ],
    { dtype: 'f64' },
  )
  const mask = tensor([false, true, false, true])
  const { indices, weights } = router.train().forward(x, { mask })
  expect(indices.tolist()).toEqual([[-1], [0], [-1], [1]])
  const sure = 1 / (1 + Math.exp(-5))
  expectClose(weights, tensor([[0], [sure], [0], [sure]], { dtype: 'f64' }), 1e-12)
})

test('padding takes no place of an expert', () => {
  // Were all four tokens assigned, expert 0 would be full with the two that want it most.
  const x = tensor(
    [
      [9, 0],
      [9, 0],
      [2, 0],
      [1, 0],
    ],
    { dtype: 'f64' },
  )
  const mask = tensor([false, false, true, true])
  expect(router.train().forward(x, { mask }).indices.tolist()).toEqual([[-1], [-1], [0], [1]])
})

test('balance has a price: the token that loses least by it gives way', () => {
  const x = tensor(
    [
      [4, 0],
      [3, 2],
    ],
    { dtype: 'f64' },
  )
  const { indices, weights } = router.train().forward(x)
  expect(indices.tolist()).toEqual([[0], [1]]) // 4 + 2 is more than 0 + 3
  const sigmoid = (score: number): number => 1 / (1 + Math.exp(-score))
  expectClose(weights, tensor([[sigmoid(4)], [sigmoid(2)]], { dtype: 'f64' }), 1e-12)
})
