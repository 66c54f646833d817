import fc from 'fast-check'
import { expect, test } from 'vitest'
import { inferenceMode, randn, steadyProducts, type Tensor, tidy } from './index.ts'

test('property: products of any views are those in f64, and of each row what they are alone', () => {
  const size = (max: number) => fc.integer({ min: 1, max })
  const sizes = fc.record({
    ...{ matrices: size(3), rows: size(9), inputs: size(70), outputs: size(140) },
    layout: fc.constantFrom('plain', 'turned', 'part'),
  })
  fc.assert(
    fc.property(sizes, ({ matrices, rows, inputs, outputs, layout }) =>
      inferenceMode(() =>
        tidy(() => {
          const x = randn([rows, matrices, inputs], { seed: 1 }).transpose(0, 1)
          const views: Record<typeof layout, () => Tensor> = {
            plain: () => randn([matrices, inputs, outputs], { seed: 2 }),
            turned: () => randn([matrices, outputs, inputs], { seed: 2 }).transpose(1, 2),
            part: () => randn([matrices, inputs + 3, outputs], { seed: 2 }).narrow(1, 2, inputs),
          }
          const w = views[layout]()
          const y = steadyProducts(x, w)
          const exact = x.to('f64').matmul(w.to('f64'))
          const magnitudes = x.abs().to('f64').matmul(w.abs().to('f64'))
          expect(y.to('f64').sub(exact).abs().div(magnitudes).max().item()).toBeLessThan(
            inputs * 2 ** -24 + 2 ** -24,
          )
          const last = y.narrow(1, rows - 1, 1)
          expect(steadyProducts(x.narrow(1, rows - 1, 1), w).equal(last)).toBe(true)
        }),
      ),
    ),
    { numRuns: 60 },
  )
})

test('what does not fit is refused', () => {
  const [x, w] = [randn([1, 2, 3], { seed: 1 }), randn([1, 4, 5], { seed: 2 })]
  expect(() => steadyProducts(x, w)).toThrow('products are of f32 [B, N, I] and [B, I, O] on the cpu')
})
