// Scores that do not depend on who is scored beside, against the library's product.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { expectClose } from '../../tests/support/tensors.ts'
import { inferenceMode, randn, tidy } from '../torch/index.ts'
import { steadyProduct, steadySigmoid } from './steady.ts'

const sizes = fc.record({
  tokens: fc.integer({ min: 1, max: 140 }),
  width: fc.constantFrom(16, 64, 200, 1024),
  experts: fc.integer({ min: 1, max: 70 }),
  seed: fc.integer({ min: 0, max: 1000 }),
})

test('a token gets, to the bit, what it gets alone, and what the product is', () =>
  fc.assert(
    fc.property(sizes, ({ tokens, width, experts, seed }) =>
      inferenceMode(() =>
        tidy(() => {
          const x = randn([tokens, width], { seed })
          const w = randn([experts, width], { seed: seed + 1 })
          const all = steadyProduct(x, w)
          for (const token of [0, Math.floor(tokens / 2), tokens - 1])
            expect(steadyProduct(x.narrow(0, token, 1), w).equal(all.narrow(0, token, 1))).toBe(true)
          const wide = x.to('f64').matmul(w.to('f64').t())
          const magnitudes = x.abs().to('f64').matmul(w.abs().to('f64').t())
          // Each of `width` sums rounds once.
          expect(all.to('f64').sub(wide).abs().div(magnitudes).max().item()).toBeLessThan(width * 2 ** -24)
        }),
      ),
    ),
    { numRuns: 40 },
  ))

test('other types and no tokens at all are the plain product', () =>
  inferenceMode(() =>
    tidy(() => {
      const [x, w] = [randn([3, 8], { dtype: 'f64', seed: 1 }), randn([5, 8], { dtype: 'f64', seed: 2 })]
      expectClose(steadyProduct(x, w), x.matmul(w.t()), 0)
      expect(steadyProduct(randn([0, 8], { seed: 1 }), randn([5, 8], { seed: 2 })).shape).toEqual([0, 5])
    }),
  ))

test('the sigmoid of a number is the same wherever it stands', () =>
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40_000 }), fc.integer({ min: 1, max: 200 }), (count, from) =>
      inferenceMode(() =>
        tidy(() => {
          const x = randn([count + from], { seed: count })
          const all = steadySigmoid(x)
          expect(steadySigmoid(x.narrow(0, from, count)).equal(all.narrow(0, from, count))).toBe(true)
          expectClose(all, x.sigmoid(), 2 ** -23) // two ways to round
        }),
      ),
    ),
    { numRuns: 40 },
  ))

test('the sigmoid of nothing is nothing', () => {
  expect(steadySigmoid(randn([0, 8], { seed: 1 })).shape).toEqual([0, 8])
})
