// The device's kernels of the experts: slots, rows, activation, and all experts on few tokens.
// Shapes: T tokens, K choices, E experts, N = T * K rows, D model, F expert width.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  full,
  manualSeed,
  ones,
  randint,
  randn,
  type Tensor,
  tensor,
  tidy,
  zeros,
} from '../../src/torch/index.ts'
import { dtypes, expectEqual, expectNear, onCpu, onDevice } from './device.ts'

/** Choices of experts: -1, an empty slot, is one of them. */
const choices = (tokens: number, topK: number, numExperts: number): Tensor =>
  randint(-1, numExperts, [tokens, topK])

const sorted = (indices: Tensor, numExperts: number): Tensor[] =>
  onCpu('sort_slots', [indices, numExperts]).returned

const cases: readonly (readonly [name: string, indices: () => Tensor, numExperts: number])[] = [
  ['no tokens', () => choices(0, 2, 4), 4],
  ['one token', () => choices(1, 3, 8), 8],
  ['one choice', () => choices(37, 1, 5), 5],
  ['one expert', () => zeros([50, 2], { dtype: 'i64' }), 1],
  ['all tokens to one expert of many', () => full([700, 4], 17, { dtype: 'i64' }), 64],
  ['only empty slots', () => full([9, 2], -1, { dtype: 'i64' }), 4],
  ['1024 experts', () => choices(300, 8, 1024), 1024],
  ['more slots than a tile', () => choices(900, 6, 33), 33],
]

describe('sort_slots', () => {
  const expectSorted = (indices: Tensor, numExperts: number): void => {
    const { returned } = onDevice('sort_slots', indices, numExperts)
    for (const [i, wanted] of sorted(indices, numExperts).entries()) expectEqual(returned[i]!, wanted)
  }

  test.each(cases)('%s', (_, indices, numExperts) => tidy(() => expectSorted(indices(), numExperts)))

  test('any shape', () => {
    fc.assert(
      fc.property(fc.nat(300), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 70 }), (t, k, e) =>
        tidy(() => expectSorted(choices(t, k, e), e)),
      ),
      { numRuns: 15 },
    )
  })

  test('an index that is no expert is an empty slot', () => {
    const { returned } = onDevice('sort_slots', tensor([[0n, 4n, 1n, -7n]]), 4)
    expect(returned.map(t => t.tolist())).toEqual([[[0, -1, 1, -1]], [0, 2, -1, -1], [1, 2, 2, 2]])
  })

  test('says what it cannot sort', () => {
    expect(() => onDevice('sort_slots', zeros([2, 2]), 4)).toThrow('indices must be i64 [2, 2]')
    expect(() => onDevice('sort_slots', zeros([2, 2], { dtype: 'i64' }), 1025)).toThrow('1..1024, got 1025')
  })
})

describe('rows', () => {
  const expectRows = (
    indices: Tensor,
    numExperts: number,
    width: number,
    dtype: (typeof dtypes)[number],
  ): void => {
    const [tokens, topK] = indices.shape as [number, number]
    const [places, , ends] = sorted(indices, numExperts) as [Tensor, Tensor, Tensor]
    const x = randn([tokens, width]).to(dtype)
    const rows = onDevice('gather_rows', x, places, ends).returned[0]!
    expectEqual(rows, onCpu('gather_rows', [x, places, ends], false).returned[0]!)
    const values = randn([tokens * topK, width]).to(dtype)
    for (const weights of [null, randn([tokens, topK])]) {
      const args = [values, places, weights]
      expectNear(onDevice('combine_rows', ...args).returned[0]!, onCpu('combine_rows', args).returned[0]!, {
        terms: topK,
      })
    }
  }

  test.each(cases)('%s', (_, indices, numExperts) =>
    tidy(() => expectRows(indices(), numExperts, 16, 'bf16')),
  )

  test('any shape and type', () => {
    const shape = [fc.nat(40), fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 8 })] as const
    const width = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(64, 256, 264, 2048))
    fc.assert(
      fc.property(...shape, width, fc.constantFrom(...dtypes), (t, k, e, d, dtype) =>
        tidy(() => expectRows(choices(t, k, e), e, d, dtype)),
      ),
      { numRuns: 25 },
    )
  })

  test.each([8, 5])('the matrices of experts without rows are zeroed, %i wide', width => {
    const ends = tensor([0n, 3n, 3n, 7n, 7n]).to('i32')
    for (const dtype of dtypes) {
      const stack = randn([5, 3, width]).to(dtype)
      const { changed } = onDevice('zero_empty_groups_', stack, ends)
      expectEqual(changed[0]!, onCpu('zero_empty_groups_', [stack, ends], false).changed[0]!)
    }
  })
})

const activations = ['silu', 'gelu', 'gelu-tanh', 'relu'] as const

interface ActivationCase {
  indices: Tensor
  numExperts: number
  width: number
  activation: (typeof activations)[number]
  gated: boolean
  dtype: (typeof dtypes)[number]
}

/** Forward and backward: f32 functions err by a few units of the last place, a rounding ends each. */
function expectActivated({ indices, numExperts, width, activation, gated, dtype }: ActivationCase): void {
  const rows = indices.numel
  const [, slots, ends] = sorted(indices, numExperts) as [Tensor, Tensor, Tensor]
  const hidden = randn([rows, gated ? 2 * width : width])
    .mul(2)
    .to(dtype)
  const forward = [hidden, ends, activation, gated] as const
  expectNear(onDevice('activate', ...forward).returned[0]!, onCpu('activate', forward).returned[0]!)
  const [gradient, weights] = [randn([rows, width]).to(dtype), randn(indices.shape)]
  const backward = [gradient, hidden, weights, slots, ends, activation, gated] as const
  const wanted = onCpu('activate_backward', backward).returned
  const actual = onDevice('activate_backward', ...backward).returned
  for (const [i, part] of actual.entries()) expectNear(part, wanted[i]!, { terms: i === 2 ? width + 8 : 16 })
}

describe('activation', () => {
  test.each(activations.flatMap(activation => dtypes.map(dtype => [activation, dtype] as const)))(
    '%s in %s, gated and plain',
    (activation, dtype) => {
      manualSeed(1)
      for (const gated of [true, false]) {
        for (const width of [24, 7]) {
          tidy(() =>
            expectActivated({ indices: choices(20, 2, 5), numExperts: 5, width, activation, gated, dtype }),
          )
        }
      }
    },
  )

  test('any shape', () => {
    const shape = [fc.nat(20), fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 8 })] as const
    const width = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(128, 768, 2100))
    fc.assert(
      fc.property(...shape, width, fc.boolean(), (t, k, numExperts, width, gated) =>
        tidy(() =>
          expectActivated({
            ...{ indices: choices(t, k, numExperts), numExperts, width },
            ...{ activation: 'silu', gated, dtype: 'f32' },
          }),
        ),
      ),
      { numRuns: 15 },
    )
  })

  test('extreme values stay finite', () => {
    const hidden = tensor([[-1e4, -100, -20, 0, 20, 100, 1e4, -0.1]])
    const ends = tensor([1n]).to('i32')
    for (const activation of activations) {
      const [actual] = onDevice('activate', hidden, ends, activation, false).returned
      expectNear(actual!, onCpu('activate', [hidden, ends, activation, false]).returned[0]!)
    }
  })

  test('says what does not fit', () => {
    const ends = tensor([1n]).to('i32')
    expect(() => onDevice('activate', ones([1, 3]), ends, 'silu', true)).toThrow('odd width, 3')
    expect(() => onDevice('activate', ones([1, 3]), ends, 'tanh', false)).toThrow("activation 'tanh'")
    expect(() => onDevice('activate', ones([1, 3]).double(), ends, 'silu', false)).toThrow('got f64')
  })
})

describe('experts_gemv', () => {
  const expectMixed = (
    [tokens, topK, numExperts, model, width]: readonly [number, number, number, number, number],
    gated: boolean,
    dtype: (typeof dtypes)[number],
  ): void => {
    const up = randn([numExperts, gated ? 2 * width : width, model]).mul(model ** -0.5)
    const down = randn([numExperts, model, width]).mul(width ** -0.5)
    const args = [
      randn([tokens, model]).to(dtype),
      choices(tokens, topK, numExperts),
      randn([tokens, topK]),
      ...[up.to(dtype), down.to(dtype)],
      'silu',
      gated,
    ] as const
    const [actual] = onDevice('experts_gemv', ...args).returned
    expectNear(actual!, onCpu('experts_gemv', args).returned[0]!, { terms: model + width + topK })
  }

  test.each([
    [1, 2, 4, 64, 32],
    [3, 2, 4, 40, 24],
    [2, 1, 1, 7, 5],
    [0, 2, 4, 16, 8],
    [8, 8, 16, 16, 40],
  ] as const)('%i tokens, %i choices of %i experts, widths %i and %i', (...sizes) => {
    for (const dtype of dtypes)
      for (const gated of [true, false]) tidy(() => expectMixed(sizes, gated, dtype))
  })

  test('a token without experts becomes zero', () => {
    const weights = [ones([2, 4, 8]), ones([2, 8, 4])]
    const [y] = onDevice(
      'experts_gemv',
      ones([1, 8]),
      full([1, 2], -1, { dtype: 'i64' }),
      ones([1, 2]),
      ...weights,
      'relu',
      false,
    ).returned
    expect(y!.tolist()).toEqual([Array(8).fill(0)])
  })
})
