import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import { expectSameAsReference } from '../../tests/support/kernels.ts'
import {
  autocast,
  chooseGemm,
  gemmChoice,
  gemmLibraries,
  grad,
  kernelFor,
  linear,
  noGrad,
  randn,
  type Tensor,
  tidy,
  zeros,
} from './index.ts'

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

  test('and gradients of all of f32 are those of libtorch', () => {
    chooseGemm(library)
    const x = randn([2, 70, 130], { seed: 1, requiresGrad: true })
    const weight = randn([150, 130], { seed: 2, requiresGrad: true })
    const bias = randn([150], { seed: 3, requiresGrad: true })
    // Sums of up to n = 150 products of order one: n roundings of sums of up to n.
    const tolerance = 150 ** 2 * 2 ** -24
    expectSameAsReference('linear', [x, weight, bias], () => [linear(x, weight, bias)], tolerance)
  })
})

test.each([
  ['few rows', [3, 40]],
  ['a batch of rows', [2, 70, 130]],
  ['one row alone', [130]],
  ['no rows', [0, 40]],
  ['no inputs', [3, 0]],
])('outputs and gradients are those of libtorch: %s', (_, shape) => {
  const inputs = shape.at(-1) ?? 0
  const x = randn(shape, { dtype: 'f64', seed: 1, requiresGrad: true })
  const weight = randn([150, inputs], { dtype: 'f64', seed: 2, requiresGrad: true })
  const bias = randn([150], { dtype: 'f64', seed: 3, requiresGrad: true })
  expectSameAsReference('linear', [x, weight, bias], () => [linear(x, weight, bias)], 1e-11)
  expectSameAsReference('linear', [x, weight], () => [linear(x, weight)], 1e-11)
})

test('there is a second derivative', () => {
  const [x, weight] = [3, 4].map(seed => randn([4, 4], { dtype: 'f64', seed, requiresGrad: true })) as [
    Tensor,
    Tensor,
  ]
  const slope = (): Tensor => grad(linear(x, weight).square().sum(), [x], { createGraph: true })[0] as Tensor
  expectSameAsReference('linear', [x, weight], () => [slope().square()], 1e-10)
})

test('under autocast f32 and bf16 may meet', () => {
  const [wide, weight] = [randn([5, 64], { seed: 1 }), randn([8, 64], { seed: 2, requiresGrad: true })]
  tidy(() => {
    const [a, b] = autocast('cpu', 'bf16', () => [linear(wide, weight), linear(wide.to('bf16'), weight)])
    expect([a?.dtype, b?.dtype]).toEqual(['bf16', 'bf16'])
    expect(a?.equal(b as Tensor)).toBe(true)
    expect(kernelFor('linear', wide.to('bf16'), weight)).toBeNull() // which have nothing in common elsewhere
    b?.to('f32').sum().backward()
    expect(weight.grad?.dtype).toBe('f32')
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
