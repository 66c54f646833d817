// Attention against loops over plain numbers.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectClose } from '../../../tests/support/tensors.ts'
import { arange, cat, gradcheck, inferenceMode, manualSeed, randn, type Tensor } from '../../torch/index.ts'
import {
  attend,
  ContiguousCache,
  LatentAttention,
  plainFrequencies,
  RelativePositionBias,
  relativeBucket,
  rotation,
} from '../index.ts'

const f64 = { dtype: 'f64' } as const
type Numbers = number[][][][]

interface Case {
  batch: number
  heads: number
  groups: number
  queries: number
  positions: number
}

test('property: scores, blocked places, bias and sinks are those of a loop', () => {
  const sizes = fc.record({
    batch: fc.integer({ min: 1, max: 2 }),
    groups: fc.integer({ min: 1, max: 2 }),
    perGroup: fc.integer({ min: 1, max: 3 }),
    queries: fc.integer({ min: 1, max: 4 }),
    positions: fc.integer({ min: 1, max: 5 }),
    withBias: fc.boolean(),
    withSinks: fc.boolean(),
    withBlocked: fc.boolean(),
  })
  fc.assert(
    fc.property(sizes, ({ batch, groups, perGroup, queries, positions, ...has }) => {
      const heads = groups * perGroup
      const q = randn([batch, heads, queries, 3], f64)
      const k = randn([batch, groups, positions, 3], f64)
      const v = randn([batch, groups, positions, 2], f64)
      const blocked = has.withBlocked ? randn([queries, positions]).gt(0.5) : null
      const bias = has.withBias ? randn([1, heads, queries, positions], f64) : null
      const sinks = has.withSinks ? randn([heads], f64) : null
      const options = { scale: 0.7, blocked, bias, sinks }
      const actual = attend(q, k, v, options).tolist() as Numbers
      loop({ batch, heads, groups, queries, positions }, (b, h, i) => {
        const g = Math.floor(h / perGroup)
        const at = <T>(tensor: Tensor | null, read: (list: Numbers) => T, none: T): T =>
          tensor === null ? none : read(tensor.tolist() as Numbers)
        const rows = Array.from({ length: positions }, (_, j) => {
          const [query, key] = [(q.tolist() as Numbers)[b]![h]![i]!, (k.tolist() as Numbers)[b]![g]![j]!]
          const dot = query.reduce((sum, x, d) => sum + x * key[d]!, 0)
          const isBlocked = at(blocked, list => Boolean((list as unknown as number[][])[i]![j]), false)
          return isBlocked ? -1e30 : 0.7 * dot + at(bias, list => list[0]![h]![i]![j]!, 0)
        })
        const sink = at(sinks, list => Math.exp((list as unknown as number[])[h]!), 0)
        const exponentials = rows.map(Math.exp)
        const total = exponentials.reduce((a, x) => a + x, sink)
        if (total === 0) return // everything is blocked: any finite mixture will do
        for (let e = 0; e < 2; e++) {
          const wanted = exponentials.reduce(
            (sum, x, j) => sum + (x / total) * (v.tolist() as Numbers)[b]![g]![j]![e]!,
            0,
          )
          expect(actual[b]![h]![i]![e]).toBeCloseTo(wanted, 10)
        }
      })
    }),
    { numRuns: 40 },
  )
})

function loop({ batch, heads, queries }: Case, visit: (b: number, h: number, i: number) => void): void {
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++) for (let i = 0; i < queries; i++) visit(b, h, i)
}

describe('latent attention', () => {
  function make(queryRank: number | null): LatentAttention {
    manualSeed(2)
    const sizes = { hiddenSize: 10, numHeads: 2, keyValueRank: 5, plainDim: 4, rotaryDim: 2, valueDim: 3 }
    return new LatentAttention({ ...sizes, queryRank, bias: true }).to('f64')
  }
  const angles = (from: number, to: number) => rotation(arange(from, to), plainFrequencies(2, 100))
  const open = { isCausal: true, window: null }

  test.each([null, 6])('query rank %s: what is cached gives what is written out', queryRank => {
    const attention = make(queryRank)
    const x = randn([2, 5, 10], f64)
    const rows = (from: number, length: number): Tensor => x.narrow(1, from, length).flatten(0, 1)
    const whole = attention.forward(rows(0, 5), { rotation: angles(0, 5), starts: [0, 5, 10], ...open })
    const model = { cacheShapes: [attention.cacheShape], dtype: 'f64', device: 'cpu' } as const
    using cache = new ContiguousCache(model, { sequences: 2, capacity: 6 })
    const next = (from: number, length: number): Tensor => {
      const starts = [0, length, 2 * length]
      const rotation = angles(from, from + length)
      const y = inferenceMode(() =>
        attention.forward(rows(from, length), { rotation, starts, store: cache.layers[0], ...open }),
      )
      cache.advance(starts)
      return y.view([2, length, -1])
    }
    const parts = [next(0, 3), next(3, 1), next(4, 1)]
    // f64 sums of tens of terms of order one, in another order.
    expectClose(cat(parts, 1), whole.view([2, 5, -1]), 1e-12)
    expect(attention.cacheShape).toEqual({ keys: [1, 5 + 2], values: null })
  })

  test('gradients', () => {
    const attention = make(6)
    const x = randn([3, 10], f64).requiresGrad_(true)
    const compute = () =>
      attention
        .forward(x, { rotation: angles(0, 3), starts: [0, 3], ...open })
        .square()
        .mean()
    expect(() => gradcheck(compute, [x, ...attention.parameters()])).not.toThrow()
  })
})

describe("T5's relative positions", () => {
  const both = { numBuckets: 32, maxDistance: 128, bidirectional: true }
  const back = { ...both, bidirectional: false }
  test.each([
    // Of 16 buckets for each direction 8 are exact; 8 + trunc(8 ln(d / 8) / ln(16)) after.
    [0, both, 0],
    [-7, both, 7],
    [-8, both, 8],
    [-11, both, 8], // 8 + trunc(0.92)
    [-12, both, 9], // 8 + trunc(1.17)
    [-127, both, 15],
    [-1000, both, 15],
    [1, both, 17],
    [12, both, 25],
    [5, back, 0], // later positions are as the present one
    [-15, back, 15],
    [-16, back, 16],
    [-127, back, 31],
  ])('distance %d', (distance, options, bucket) => expect(relativeBucket(distance, options)).toBe(bucket))

  test('positions that follow cached ones get the rows that they have in the whole', () => {
    const bias = new RelativePositionBias({ numHeads: 2, bidirectional: false })
    expectClose(bias.forward(2, 7, 5), bias.forward(7, 7).narrow(2, 5, 2), 0)
  })
})
