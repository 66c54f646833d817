import { expect, test } from 'vitest'
import { expectClose } from '../../../tests/support/tensors.ts'
import { Parameter } from '../../nn/index.ts'
import { tensor } from '../../torch/index.ts'
import { Sgd } from './sgd.ts'

test.each([
  { momentum: 0, nesterov: false },
  { momentum: 0.9, nesterov: false },
  { momentum: 0.9, nesterov: true },
])('follows its formula: %j', ({ momentum, nesterov }) => {
  const parameter = new Parameter(tensor([1, -2], { dtype: 'f64' }))
  using optimizer = new Sgd([parameter], { momentum, nesterov, weightDecay: 0.5 })
  let [p, m] = [
    [1, -2],
    [0, 0],
  ]
  for (const gradient of [
    [0.5, 3],
    [-1, 2],
    [4, 0.1],
  ]) {
    parameter.grad = tensor(gradient, { dtype: 'f64' })
    optimizer.update(0.1)
    m = m.map((sum, i) => momentum * sum + (gradient[i] as number))
    p = p.map((value, i) => {
      const direction = nesterov ? (gradient[i] as number) + momentum * (m[i] as number) : (m[i] as number)
      return value * (1 - 0.1 * 0.5) - 0.1 * direction
    })
  }
  expectClose(parameter, tensor(p, { dtype: 'f64' }), 1e-12)
  expect(optimizer.state().size).toBe(momentum === 0 ? 0 : 1)
})

test('gradients that are not finite move nothing, and are no step', () => {
  const parameter = new Parameter(tensor([1]))
  using optimizer = new Sgd([parameter])
  parameter.grad = tensor([Number.NaN])
  optimizer.update(0.1, { norm: tensor(Number.NaN) })
  expect([parameter.item(), optimizer.step]).toEqual([1, 0])
})
