import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { expectSameAsReference } from '../../tests/support/kernels.ts'
import { chooseGemm, gemmChoice, gemmLibraries, linear, noGrad, randn, tidy, zeros } from './index.ts'

const [initial, libraries] = [gemmChoice(), gemmLibraries()]
afterEach(() => chooseGemm(initial))

describe.each(libraries)('products by %s', library => {
  test('are those of f64, whatever their shape', () => {
    chooseGemm(library)
    const size = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 60, max: 200 }))
    fc.assert(
      fc.property(size, size, size, (rows, inputs, outputs) =>
        noGrad(() =>
          tidy(() => {
            const [x, weight] = [randn([rows, inputs], { seed: 1 }), randn([outputs, inputs], { seed: 2 })]
            const exact = linear(x.to('f64'), weight.to('f64'))
            const magnitude = linear(x.abs().to('f64'), weight.abs().to('f64')) // sum |x w|
            const error = linear(x, weight).to('f64').sub(exact).abs().div(magnitude)
            expect(error.max().item()).toBeLessThanOrEqual(inputs * 2 ** -24)
          }),
        ),
      ),
      { numRuns: 30 },
    )
  })

  test.each([
    ['few rows', [3, 40]],
    ['a batch of rows', [2, 70, 130]],
    ['one row alone', [130]],
    ['no rows', [0, 40]],
    ['no inputs', [3, 0]],
  ])('and their gradients are those of libtorch: %s', (_, shape) => {
    chooseGemm(library)
    const inputs = shape.at(-1) ?? 0
    const x = randn(shape, { dtype: 'f64', seed: 1, requiresGrad: true })
    const weight = randn([150, inputs], { dtype: 'f64', seed: 2, requiresGrad: true })
    const bias = randn([150], { dtype: 'f64', seed: 3, requiresGrad: true })
    expectSameAsReference('linear', [x, weight, bias], () => [linear(x, weight, bias)], 1e-11)
    expectSameAsReference('linear', [x, weight], () => [linear(x, weight)], 1e-11)
  })
})

test('a choice is given back in the words that it can be made with', () => {
  for (const choice of [
    ...gemmLibraries(),
    initial,
    'thin=libtorch,small=libtorch,large=blas,transposed=blas',
  ]) {
    chooseGemm(choice)
    expect(gemmChoice()).toBe(choice)
  }
})

test.each([
  ['mkl', `choice: there is no library 'mkl' here; there is ${libraries.join(', ')}`],
  ['thin=libtorch', 'choice: says nothing of small'],
  ['wide=libtorch', "choice: 'wide=libtorch' is not thin, small, large or transposed, = and a library"],
])('%s is no choice', (choice, message) => {
  expect(() => chooseGemm(choice)).toThrow(message)
  expect(gemmChoice()).toBe(initial)
})

test('what does not fit is refused in words', () => {
  expect(() => linear(zeros([2, 3]), zeros([4, 5]))).toThrow('weights [4, 5] do not fit x [2, 3]')
})
