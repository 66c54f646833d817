import { describe, expect, test } from 'vitest'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { callOperator, gradcheck, randn, type Tensor, tensor } from '../../torch/index.ts'
import { MaskedBatchNorm } from '../index.ts'

/** With a weight and bias that are not trivial. */
function makeNorm(features = 3): MaskedBatchNorm {
  const norm = new MaskedBatchNorm(features).to('f64')
  norm.weight.detach().copy_(randn([features], { seed: 8 }))
  norm.bias.detach().copy_(randn([features], { seed: 9 }))
  return norm
}

/** Running averages are f32 and below 16 here: they are rounded by at most half of 2^-20. */
const rounding = 2 ** -20

const x = randn([6, 3], { dtype: 'f64', seed: 1 }).mul(2).add(5)

describe('batch normalisation', () => {
  test.each([true, false])('equals libtorch, outputs and running averages, training %s', training => {
    expectNoLeak(() => {
      using norm = makeNorm()
      norm.running_mean.add_(4)
      norm.train(training)
      const [mean, variance] = [norm.running_mean.double(), norm.running_var.double()]
      const wanted = callOperator(
        'aten::batch_norm',
        x,
        norm.weight,
        norm.bias,
        mean,
        variance,
        training,
        0.1,
        1e-5,
        false,
      ) as Tensor
      expectClose(norm.forward(x), wanted, 1e-13)
      expectClose(norm.running_mean.double(), mean, rounding)
      expectClose(norm.running_var.double(), variance, rounding)
    })
  })

  test('sees padding neither in the batch nor in the running averages', () => {
    using norm = makeNorm()
    using alone = makeNorm()
    const mask = tensor([true, false, true, true, false, true])
    const rows = tensor([0n, 2n, 3n, 5n])
    const polluted = x.maskedFill(mask.logicalNot().unsqueeze(-1), 1e6)
    const y = norm.forward(polluted, mask)
    expectClose(y.index([rows]), alone.forward(x.index([rows])), 1e-13)
    expectClose(norm.running_mean, alone.running_mean, rounding)
    expectClose(norm.running_var, alone.running_var, rounding)
  })

  test('gives real tokens mean 0 and variance 1', () => {
    using norm = new MaskedBatchNorm(3).to('f64')
    const y = norm.forward(x)
    expectClose(y.mean(0), tensor([0, 0, 0]), 1e-13)
    // var / (var + eps) with variances near 4.
    expectClose(y.square().mean(0), tensor([1, 1, 1]), 1e-5)
  })

  test('takes the running averages, and keeps them, with fewer than two real tokens', () => {
    using norm = makeNorm()
    const evaluated = makeNorm().eval().forward(x)
    const before = norm.running_mean.clone()
    expectClose(norm.forward(x.narrow(0, 0, 1)), evaluated.narrow(0, 0, 1), 1e-14)
    const mask = tensor([false, true, false, false, false, false])
    expectClose(norm.forward(x, mask), evaluated, 1e-14)
    expect(norm.forward(x.narrow(0, 0, 0)).shape).toEqual([0, 3])
    expect(norm.running_mean.equal(before)).toBe(true)
  })

  test.each([true, false])('has the gradients of its formula, training %s', training => {
    using norm = makeNorm().train(training)
    const input = randn([5, 3], { dtype: 'f64', seed: 2, requiresGrad: true })
    const mask = tensor([true, true, false, true, true])
    const weight = randn([5, 3], { dtype: 'f64', seed: 3 })
    gradcheck(() => norm.forward(input, mask).mul(weight).square().sum(), [input, norm.weight, norm.bias])
  })

  test('saves its running averages', () => {
    expect([...makeNorm().stateDict().keys()]).toEqual(['weight', 'bias', 'running_mean', 'running_var'])
  })
})
