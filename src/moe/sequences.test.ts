// Sequences of any lengths are computed as each alone.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { expectClose } from '../../tests/support/tensors.ts'
import type { Module } from '../nn/index.ts'
import { cat, manualSeed, rand, randn, type Tensor, tidy } from '../torch/index.ts'
import {
  balanceLoss,
  balancePresets,
  countPerExpert,
  equalStarts,
  fixedCapacityDispatch,
  GatedExperts,
  MoeLayer,
  type Router,
  type Routing,
  SequenceRouter,
  SoftRouter,
  TopKRouter,
} from './index.ts'
import { bySequence, countSequences, sequenceOfToken, startsOf } from './sequences.ts'

const sizes = { hiddenSize: 6, numExperts: 4 }
const routers = {
  sequence: () => new SequenceRouter({ ...sizes, topK: 2 }),
  soft: () => new SoftRouter({ ...sizes, slots: 2 }),
  'top-k, a fixed capacity of each sequence': () => new TopKRouter({ ...sizes, topK: 2 }),
}

function layerOf(make: () => Module & Router<Routing>): MoeLayer<Module & Router<Routing>, GatedExperts> {
  manualSeed(1)
  const experts = new GatedExperts({ ...sizes, intermediateSize: 5 })
  return new MoeLayer(make(), experts, fixedCapacityDispatch({ slots: 2, per: 'sequence' })).to('f64')
}

const lengths = fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 4 })
const startsOfLengths = (all: readonly number[]): number[] =>
  [0, ...all].map((_, b) => all.slice(0, b).reduce((sum, length) => sum + length, 0))

/** Output and every gradient of a fixed sum of it. */
function run(layer: ReturnType<typeof layerOf>, x: Tensor, mix: (leaf: Tensor) => Tensor): Tensor[] {
  layer.zeroGrad()
  const leaf = x.clone().requiresGrad_()
  const y = mix(leaf)
  y.mul(randn(y.shape, { dtype: 'f64', seed: 2 }))
    .sum()
    .backward()
  return [y, ...[leaf, ...layer.parameters()].map(({ grad, shape }) => grad ?? randn(shape).double().mul(0))]
}

describe.each(Object.entries(routers))('%s', (_, make) => {
  test('property: sequences of any lengths equal each alone, forward and gradient, with padding among them', () => {
    fc.assert(
      fc.property(lengths, fc.boolean(), (all, padded) =>
        tidy(() => {
          using layer = layerOf(make)
          const starts = startsOfLengths(all)
          const tokens = starts.at(-1) as number
          const x = randn([tokens, 6], { dtype: 'f64', seed: 3 })
          const mask = padded ? rand([tokens], { seed: 4 }).gt(0.3) : null
          const together = run(layer, x, leaf => layer.forward(leaf, { mask, starts }).y)
          const apart = run(layer, x, leaf =>
            cat(
              all.map((length, b) => {
                const of = (tensor: Tensor): Tensor => tensor.narrow(0, starts[b] as number, length)
                return layer.forward(of(leaf), { mask: mask && of(mask) }).y
              }),
            ),
          )
          for (const [i, tensor] of together.entries()) expectClose(tensor, apart[i] as Tensor, 1e-10)
        }),
      ),
      { numRuns: 30 },
    )
  })

  test('the shape of [B, S, D] says where sequences begin', () => {
    using layer = layerOf(make)
    const x = randn([3, 4, 6], { dtype: 'f64', seed: 3 })
    const { y } = layer.forward(x.view([12, 6]), { starts: [0, 4, 8, 12] })
    expect(layer.forward(x).y.view([12, 6]).equal(y)).toBe(true)
  })
})

test('property: balance within ragged sequences is the mean over those that have tokens, layer by layer', () => {
  fc.assert(
    fc.property(
      lengths.filter(all => all.some(length => length > 0)),
      fc.constantFrom(...(Object.keys(balancePresets) as (keyof typeof balancePresets)[])),
      (all, preset) =>
        tidy(() => {
          const router = new TopKRouter({ ...sizes, topK: 2 }).to('f64')
          const starts = startsOfLengths(all)
          const x = randn([starts.at(-1) as number, 6], { dtype: 'f64', seed: 5 })
          const alone = all.flatMap((length, b) =>
            length === 0 ? [] : router.forward(x.narrow(0, starts[b] as number, length)),
          )
          const convention = balancePresets[preset]
          const whole = balanceLoss([router.forward(x)], convention, { scope: 'sequence', starts }).item()
          const mean = alone.reduce((sum, part) => sum + balanceLoss([part], convention).item(), 0)
          expect(whole).toBeCloseTo(mean / alone.length, 10)
        }),
    ),
    { numRuns: 40 },
  )
})

test('a soft expert serves its slots in each sequence that has tokens', () => {
  const router = new SoftRouter({ ...sizes, slots: 3 })
  expect(countPerExpert(router.forward(randn([5, 6]), { starts: [0, 2, 2, 5] }))).toEqual([6, 6, 6, 6])
})

test('where sequences begin', () => {
  expect(equalStarts(3, 4)).toEqual([0, 4, 8, 12])
  expect(startsOf(randn([2, 3, 4, 5]))).toEqual(equalStarts(6, 4))
  expect(startsOf(randn([7, 5]))).toEqual([0, 7])
  expect(countSequences(startsOf(randn([3, 0, 5])))).toBe(0)
  expect(sequenceOfToken([0, 2, 2, 5], 'cpu').tolist()).toEqual([0, 0, 1, 1, 1])
  expect(sequenceOfToken([0, 2, 4], 'cpu').tolist()).toEqual([0, 0, 1, 1])
  const x = randn([4, 2])
  expect(bySequence([0, 0], x, () => x.neg())).toBe(x)
})
