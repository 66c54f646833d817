import { expect, test } from 'vitest'
import { randn, tensor } from '../../torch/index.ts'
import { ExpertChoiceRouter, loadByDomain, type Routing, SoftRouter, TopKRouter } from '../index.ts'

const sizes = { hiddenSize: 4, numExperts: 3 }
const [domains, mask] = [
  [0, 1, 1, 0, 1, 0],
  [true, true, true, false, true, true],
]
const x = randn([6, 4], { seed: 1 })

/** What each token owes to each expert, summed by the token's domain. */
function reference(partsTE: number[][]): number[][] {
  return [0, 1].map(domain =>
    [0, 1, 2].map(expert =>
      partsTE.reduce((sum, parts, t) => sum + (domains[t] === domain ? (parts[expert] ?? 0) : 0), 0),
    ),
  )
}

const served = (routing: Routing): number[][] =>
  loadByDomain(routing, tensor(domains.map(BigInt)), 2).tolist() as number[][]

test('where tokens choose, each slot is one of its token', () => {
  const routing = new TopKRouter({ ...sizes, topK: 2 }).forward(x, { mask: tensor(mask) })
  const chosen = routing.indices.tolist() as number[][]
  const parts = chosen.map(row => [0, 1, 2].map(e => row.filter(i => i === e).length))
  expect(served(routing)).toEqual(reference(parts))
})

test('where experts choose, each slot is one of the token it took', () => {
  const routing = new ExpertChoiceRouter({ ...sizes, capacity: 1 }).forward(x, { mask: tensor(mask) })
  const taken = routing.tokens.tolist() as number[][]
  const parts = domains.map((_, t) => taken.map(row => row.filter(i => i === t).length))
  expect(served(routing)).toEqual(reference(parts))
  expect(
    served(routing)
      .flat()
      .reduce((a, b) => a + b),
  ).toBe(6) // 3 experts, ceil(5 / 3) slots
})

test('where everything mixes, an expert did what its slots gave to the tokens', () => {
  const routing = new SoftRouter({ ...sizes, slots: 2 }).forward(x, { mask: tensor(mask), starts: [0, 3, 6] })
  const parts = routing.combine.sum(-1).tolist() as number[][]
  for (const [d, row] of reference(parts).entries()) {
    for (const [e, wanted] of row.entries()) expect(served(routing)[d]?.[e]).toBeCloseTo(wanted, 12)
  }
})
