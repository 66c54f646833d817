// The kernels of normalisation and attention against their references.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectSameAsReference } from '../../tests/support/kernels.ts'
import { expectClose } from '../../tests/support/tensors.ts'
import {
  arange,
  fusedCausalAttention,
  fusedRmsNorm,
  gradcheck,
  manualSeed,
  noGrad,
  randn,
  tidy,
  zeros,
} from '../torch/index.ts'
import { Attention, plainFrequencies, RMSNorm, rotation } from './index.ts'

const f64 = { dtype: 'f64' } as const

describe('rmsNorm', () => {
  function expectSame(shape: number[]): void {
    using norm = new RMSNorm(shape.at(-1) ?? 0, 1e-5).to('f64')
    noGrad(() => norm.weight.uniform_(0.5, 2))
    const x = randn(shape, { ...f64, seed: 1, requiresGrad: true })
    // The gradient of the weight sums over all rows.
    expectSameAsReference('rmsNorm', [x, norm.weight], () => [norm.forward(x)], 1e-11)
  }

  test.each([[[3, 4, 8]], [[1, 1]], [[0, 5]], [[700, 33]], [[2, 1, 7]]])('for %j', shape => expectSame(shape))

  test('property: for any shape', () => {
    const shape = fc.tuple(
      fc.integer({ min: 0, max: 9 }),
      fc.integer({ min: 0, max: 9 }),
      fc.integer({ min: 1, max: 40 }),
    )
    fc.assert(
      fc.property(shape, sizes => expectSame(sizes)),
      { numRuns: 50 },
    )
  })

  test('gradients are the derivatives', () => {
    const [x, weight] = [
      randn([4, 5], { ...f64, requiresGrad: true }),
      randn([5], { ...f64, requiresGrad: true }),
    ]
    gradcheck(() => fusedRmsNorm(x, weight, 1e-5).pow(3).sum(), [x, weight])
  })
})

describe('attention', () => {
  interface Case {
    batch: number
    length: number
    numHeads: number
    numKeyValueHeads: number
    headDim: number
    window: number | null
  }

  function expectSame({ batch, length, window, ...heads }: Case): void {
    manualSeed(length)
    using attention = new Attention({ hiddenSize: 8, ...heads }).to('f64')
    const x = randn([batch * length, 8], { ...f64, seed: 1, requiresGrad: true })
    const input = {
      rotation: rotation(arange(0, length), plainFrequencies(heads.headDim, 100)),
      starts: Array.from({ length: batch + 1 }, (_, b) => b * length),
      isCausal: true,
      window,
    }
    expectSameAsReference(
      'attention',
      [x, ...attention.parameters()],
      () => [attention.forward(x, input)],
      1e-11,
    )
  }

  const usual: Case = { batch: 2, length: 20, numHeads: 4, numKeyValueHeads: 2, headDim: 4, window: null }

  test.each([
    ['as many key heads as query heads', { ...usual, numKeyValueHeads: 4 }],
    ['one key head', { ...usual, numKeyValueHeads: 1 }],
    ['one position', { ...usual, length: 1 }],
    ['exactly a block of positions', { ...usual, length: 64 }],
    ['several blocks and a rest', { ...usual, length: 150 }],
    ['a window within a block', { ...usual, window: 3 }],
    ['a window of one', { ...usual, window: 1 }],
    ['a window over several blocks', { ...usual, length: 200, window: 100 }],
    ['a window longer than the text', { ...usual, window: 99 }],
    ['narrow heads', { ...usual, headDim: 2 }],
  ])('with %s', (_, shape) => expectSame(shape))

  test('property: for any shape', () => {
    const shape = fc.record({
      batch: fc.integer({ min: 1, max: 2 }),
      length: fc.integer({ min: 1, max: 90 }),
      groups: fc.integer({ min: 1, max: 2 }),
      perGroup: fc.integer({ min: 1, max: 3 }),
      headDim: fc.constantFrom(2, 4, 6),
      window: fc.option(fc.integer({ min: 1, max: 100 })),
    })
    fc.assert(
      fc.property(shape, ({ groups, perGroup, ...rest }) =>
        expectSame({ ...rest, numKeyValueHeads: groups, numHeads: groups * perGroup }),
      ),
      { numRuns: 30 },
    )
  })

  test('gradients are the derivatives', () => {
    const inputs = [4, 2, 2].map((width, i) => randn([1, 5, width], { ...f64, seed: i, requiresGrad: true }))
    const [q, k, v] = inputs as [
      (typeof inputs)[0] & object,
      (typeof inputs)[0] & object,
      (typeof inputs)[0] & object,
    ]
    const { cos, sin } = rotation(arange(0, 5), plainFrequencies(2, 100))
    gradcheck(() => fusedCausalAttention(q, k, v, cos, sin, 2, 3).square().sum(), inputs)
  })

  test('huge scores stay finite, in f32', () => {
    tidy(() => {
      const [q, k, v] = [1, 2, 3].map(seed => randn([1, 70, 4], { seed }).mul(100)) as [
        ReturnType<typeof zeros>,
        ReturnType<typeof zeros>,
        ReturnType<typeof zeros>,
      ]
      const { cos, sin } = rotation(arange(0, 70), plainFrequencies(4, 100))
      const y = fusedCausalAttention(q, k, v, cos, sin, 4)
      expect(y.isfinite().all().item()).toBe(1)
      expectClose(y.narrow(1, 0, 1), v.narrow(1, 0, 1), 1e-4) // the first position sees itself only
    })
  })

  test('shapes that do not fit are refused by name', () => {
    const { cos, sin } = rotation(arange(0, 3), plainFrequencies(4, 100))
    const x = zeros([1, 3, 8])
    expect(() => fusedCausalAttention(x, x, x, cos, sin, 3)).toThrow('are no whole heads of 3')
    expect(() => fusedCausalAttention(x, zeros([1, 4, 8]), x, cos, sin, 4)).toThrow('do not fit each other')
    expect(() =>
      fusedCausalAttention(zeros([1, 9, 8]), zeros([1, 9, 8]), zeros([1, 9, 8]), cos, sin, 4),
    ).toThrow('are not [9, 4]')
    expect(() => fusedCausalAttention(x, x, x, cos, sin, 4, 0)).toThrow('window must be at least 1, got 0')
  })
})
