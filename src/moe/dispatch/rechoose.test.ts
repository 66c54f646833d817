import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { four, identity, z } from '../../../tests/support/router-examples.ts'
import { expectClose, expectNoLeak } from '../../../tests/support/tensors.ts'
import { noGrad, randn, tensor, tidy } from '../../torch/index.ts'
import { Agreement, chosenAmong, rechosen, TopKRouter } from '../index.ts'

const amongOf = (experts: number, some: readonly number[]) =>
  tensor(Uint8Array.from({ length: experts }, (_, e) => (some.includes(e) ? 1 : 0))).to('bool')

describe('among some experts', () => {
  test('a router chooses as one that has no others', () => {
    const sizes = fc.record({
      experts: fc.integer({ min: 2, max: 12 }),
      tokens: fc.integer({ min: 1, max: 9 }),
      seed: fc.nat(),
    })
    fc.assert(
      fc.property(sizes, fc.infiniteStream(fc.nat()), ({ experts, tokens, seed }, numbers) => {
        const draw = (most: number): number => (numbers.next().value ?? 0) % (most + 1)
        const topK = 1 + draw(experts - 1)
        const some = [...Array(experts).keys()].sort(() => draw(2) - 1).slice(0, topK + draw(experts - topK))
        expectNoLeak(() =>
          noGrad(() => {
            const x = randn([tokens, 8], { seed })
            const router = new TopKRouter({ hiddenSize: 8, numExperts: experts, topK })
            router.weight.copy_(randn([experts, 8], { seed: seed + 1 }))
            const { indices, weights } = chosenAmong(router.forward(x), amongOf(experts, some))
            const numbered = tensor(Int32Array.from(some.sort((a, b) => a - b))).long()
            const fewer = new TopKRouter({ hiddenSize: 8, numExperts: some.length, topK })
            fewer.weight.copy_(router.weight.indexSelect(0, numbered))
            const wanted = fewer.forward(x)
            // The same experts, perhaps in another order: by expert, what each counts.
            const byExpert = (at: typeof indices, of: typeof weights) =>
              randn([tokens, experts]).zero_().scatter_(-1, at, of)
            expectClose(
              byExpert(indices, weights),
              byExpert(numbered.take(wanted.indices), wanted.weights),
              1e-5,
            )
            fewer.dispose()
            router.dispose()
          }),
        )
      }),
      { numRuns: 60 },
    )
  })

  test('tokens whose experts are all there are left as they are, the others keep their sum and their number', () => {
    const { indices, weights, ...rest } = identity(new TopKRouter({ ...four, topK: 2 })).forward(z)
    expect(indices.tolist()).toEqual([
      [0, 1],
      [3, 2],
      [1, 0],
    ])
    const routing = { indices, weights: weights.mul(3), ...rest }
    const among = chosenAmong(routing, amongOf(4, [0, 1, 2]))
    expect(among.indices.tolist()).toEqual([
      [0, 1],
      [2, expect.any(Number)],
      [1, 0],
    ])
    expectClose(among.weights.select(0, 0), routing.weights.select(0, 0), 0)
    expectClose(among.weights.sum(-1), routing.weights.sum(-1), 1e-6)
    const empty = indices.clone()
    empty.select(0, 1).select(0, 1).fill_(-1) // the second token chose one expert
    const one = chosenAmong({ ...routing, indices: empty }, amongOf(4, [0, 1, 2]))
    expect(one.indices.select(0, 1).tolist()).toEqual([2, -1])
    expectClose(one.weights.select(0, 1).select(0, 1), tensor(0, { dtype: 'f64' }), 0)
  })
})

test('other experts count by what the router thought of them', () => {
  const routing = identity(new TopKRouter({ ...four, topK: 2 })).forward(z)
  const { weights, probs } = rechosen(
    routing,
    tensor([
      [2, 3],
      [3, 2],
      [3, -1],
    ]).long(),
  )
  const [p2, p3] = [2, 3].map(expert => Number(probs.select(0, 0).select(0, expert).item())) as [
    number,
    number,
  ]
  expect(Number(weights.select(0, 0).select(0, 0).item())).toBeCloseTo(p2 / (p2 + p3), 12)
  expectClose(weights.select(0, 1), routing.weights.select(0, 1), 0)
  expect(weights.select(0, 2).tolist()).toEqual([1, 0])
})

test('agreement counts chosen experts that were served, in whatever slot', () => {
  const routing = identity(new TopKRouter({ ...four, topK: 2 })).forward(z)
  expectNoLeak(() =>
    tidy(() => {
      using agreement = new Agreement('cpu')
      const served = [
        [1, 0],
        [3, -1],
        [2, 3],
      ]
      agreement.note(routing, { ...routing, indices: tensor(served).long() })
      expect(agreement.counts).toEqual({ chosen: 6, served: 3 })
      agreement.note(routing, routing)
      expect(agreement.counts).toEqual({ chosen: 12, served: 9 })
    }),
  )
})
