import { expect, test } from 'vitest'
import { expectClose } from '../../../tests/support/tensors.ts'
import { randn } from '../../torch/index.ts'
import { CosineRouter } from '../index.ts'

test('cosine logits stay within 1/temperature, and scaling a token changes nothing', () => {
  const router = new CosineRouter({ hiddenSize: 6, numExperts: 4, topK: 2, temperature: 0.1 }).to('f64')
  const x = randn([20, 6], { dtype: 'f64', seed: 1 })
  const { logits, weights } = router.forward(x)
  // The logarithm of the temperature, about -2.3, was rounded to f32: by 2^-23 at most.
  expect(logits.abs().max().item()).toBeLessThanOrEqual(10 * Math.exp(2 ** -23) + 1e-12)
  expectClose(router.forward(x.mul(1000)).weights, weights, 1e-9)
})
