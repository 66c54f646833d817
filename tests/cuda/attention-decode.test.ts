// The device's attention of one new query over a cache, of which only the first positions are filled.
// Shapes: B sequences, H heads, G groups, S capacity, D and E widths.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { full, randn, type Tensor, tensor, tidy, zeros } from '../../src/torch/index.ts'
import { dtypes, expectNear, onCpu, onDevice } from './device.ts'

interface Case {
  lengths: readonly number[]
  heads: number
  groups: number
  capacity: number
  width: number
  valueWidth?: number
  window?: number
  dtype?: (typeof dtypes)[number]
}

const i32 = (values: readonly number[]): Tensor => tensor(Int32Array.from(values))

function expectAttended({
  lengths,
  heads,
  groups,
  capacity,
  width,
  valueWidth = width,
  window = 0,
  dtype = 'f32',
}: Case): void {
  tidy(() => {
    const batch = lengths.length
    const args = [
      randn([batch, heads, width]).to(dtype),
      randn([batch, groups, capacity, width]).to(dtype),
      randn([batch, groups, capacity, valueWidth]).to(dtype),
      i32(lengths),
      width ** -0.5,
      window,
    ] as const
    const [actual] = onDevice('attention_decode', ...args).returned
    // e^score turns an absolute error of the score, of width terms, into a relative one.
    expectNear(actual!, onCpu('attention_decode', args).returned[0]!, {
      terms: 4 * width + Math.max(0, ...lengths),
    })
  })
}

const usual: Case = { lengths: [5, 70, 200], heads: 4, groups: 2, capacity: 200, width: 64 }

test.each<[string, Partial<Case>]>([
  ['as usual', {}],
  ['one head per group', { groups: 4 }],
  ['one group of eight heads', { heads: 8, groups: 1 }],
  ['groups of seven heads', { heads: 14, groups: 2, width: 32 }],
  ['groups of twelve heads', { heads: 12, groups: 1, width: 16 }],
  ['values of another width', { valueWidth: 24 }],
  ['a width that no vector divides', { width: 13, valueWidth: 7 }],
  ['wide heads', { width: 256, lengths: [40], heads: 6, groups: 1 }],
  ['a window', { window: 33 }],
  ['a window larger than all', { window: 1000 }],
  ['one position', { lengths: [1], capacity: 1 }],
  ['more stretches than positions', { lengths: [3], capacity: 4000, groups: 1, width: 16 }],
  ['nothing yet', { lengths: [0, 2, 0] }],
  ['no sequences', { lengths: [] }],
])('%s', (_, change) => {
  for (const dtype of dtypes) expectAttended({ ...usual, ...change, dtype })
})

test('any shape', () => {
  const small = fc.integer({ min: 1, max: 3 })
  fc.assert(
    fc.property(
      fc.array(fc.nat(150), { maxLength: 3 }),
      small,
      small,
      fc.integer({ min: 1, max: 70 }),
      fc.nat(40),
      (lengths, groups, perGroup, width, window) =>
        expectAttended({
          ...{ lengths, groups, heads: groups * perGroup },
          ...{ capacity: 150, width, window },
        }),
    ),
    { numRuns: 20 },
  )
})

test('what lies beyond the length is not read', () => {
  const filled = randn([1, 1, 4, 8], { seed: 1 })
  const cache = (rest: number): Tensor => full([1, 1, 9, 8], rest).narrow(2, 0, 9).clone()
  const [keys, values] = [cache(Number.NaN), cache(Number.NaN)]
  keys.narrow(2, 0, 4).copy_(filled)
  values.narrow(2, 0, 4).copy_(filled)
  const query = randn([1, 1, 8], { seed: 2 })
  const [actual] = onDevice('attention_decode', query, keys, values, i32([4]), 1, 0).returned
  const [wanted] = onCpu('attention_decode', [query, filled, filled, i32([4]), 1, 0]).returned
  expectNear(actual!, wanted!, { terms: 40 })
})

test('says what it cannot attend to', () => {
  const [queries, cache] = [zeros([1, 3, 8]), zeros([1, 2, 4, 8])]
  expect(() => onDevice('attention_decode', queries, cache, cache, i32([1]), 1, 0)).toThrow(
    '3 heads cannot be divided into 2 groups',
  )
  const wide = zeros([1, 1, 4, 600])
  expect(() => onDevice('attention_decode', zeros([1, 1, 600]), wide, wide, i32([1]), 1, 0)).toThrow(
    'too wide',
  )
})
