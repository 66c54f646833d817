import { expect, test } from 'vitest'
import { expectClose } from '../../tests/support/tensors.ts'
import { Parameter } from '../nn/index.ts'
import { noGrad, tensor } from '../torch/index.ts'
import { WeightAverage } from './weight-average.ts'

test('follows weights by its decay, sooner in the first steps, and changes places with them and back', () => {
  const parameter = new Parameter(tensor([1], { dtype: 'f64' }))
  const average = new WeightAverage([parameter], { decay: 0.25 })
  let wanted = 1
  for (const [i, value] of [3, -2, 5].entries()) {
    noGrad(() => parameter.fill_(value))
    average.follow(i + 1)
    const decay = Math.min(0.25, (2 + i) / (11 + i)) // 2/11, 0.25, 0.25
    wanted = decay * wanted + (1 - decay) * value
  }
  average.swap()
  expectClose(parameter, tensor([wanted], { dtype: 'f64' }), 1e-14)
  average.swap()
  expect(parameter.item()).toBe(5)
  average.dispose()
})
