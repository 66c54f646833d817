import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { expectClose } from '../../tests/support/tensors.ts'
import { openModel, tokensOf } from '../models/index.ts'
import { inferenceMode, randint, type Tensor, tensor, tidy } from '../torch/index.ts'
import { MoeLayer, serveFewer } from './index.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../tests/fixtures/${name}`, import.meta.url))

const routingsOf = (model: ReturnType<typeof open>) =>
  inferenceMode(() => model.forward(tokensOf(randint(3, 90, [2, 9], { seed: 1 }))).routings)
const open = (name: string) => openModel(fixture(name)).load({ kind: 'decoder', weights: 'stored' })

describe.each([
  'mixtral',
  'olmoe',
  'qwen3_moe',
  'gpt_oss',
  'granitemoe',
  'phimoe',
  'deepseek_v2',
  'deepseek_v3',
])('%s', name => {
  test('serves the heaviest expert alone, with the weight of all', () => {
    using model = open(name)
    serveFewer(model, { expertsPerToken: 1 })
    tidy(() => {
      for (const { chosen, served } of routingsOf(model)) {
        if (chosen.kind !== 'token' || served.kind !== 'token') throw new Error('tokens choose')
        expect(served.indices.size(-1)).toBe(1)
        const heaviest = chosen.weights.argmax(-1, true)
        expectClose(served.indices, chosen.indices.gather(-1, heaviest), 0)
        // Two roundings of f32 on the way: by the sum of all and by the one that stays.
        expectClose(served.weights.sum(-1), chosen.weights.sum(-1), 4 * 2 ** -23 * 3)
      }
    })
  })

  test('as many as the router chooses change nothing', () => {
    using model = open(name)
    const logits = (): Tensor =>
      inferenceMode(() => model.forward(tokensOf(randint(3, 90, [1, 5], { seed: 1 }))).logits)
    const before = logits()
    const [layer] = [...model.namedModules()].flatMap(([, each]) => (each instanceof MoeLayer ? [each] : []))
    serveFewer(model, { expertsPerToken: layer?.gate.active })
    expectClose(logits(), before, 0)
  })
})

describe.each(['mixtral', 'qwen3_moe', 'deepseek_v3'])('tokens of %s that say how many', name => {
  const ids = randint(3, 90, [1, 6], { seed: 1 })
  const forward = (model: ReturnType<typeof open>, most: readonly number[] | null) =>
    inferenceMode(() => {
      const mostExperts = most && tensor(Int32Array.from(most)).long()
      return model.forward({ ...tokensOf(ids), mostExperts })
    })

  test('get as many, as if the model served no more', () => {
    using each = open(name)
    using all = open(name)
    serveFewer(all, { expertsPerToken: 1 })
    tidy(() => {
      const [some, wanted] = [forward(each, [1, 1, 1, 1, 1, 1]), forward(all, null)]
      // Both rescale what is left; one sums it with the zeros of empty slots.
      expectClose(some.logits, wanted.logits, 1e-5)
      for (const { served } of some.routings)
        expect(served.kind === 'token' && served.indices.ge(0).sum(-1).tolist()).toEqual([1, 1, 1, 1, 1, 1])
    })
  })

  test('and the others theirs, to the last bit', () => {
    using model = open(name)
    tidy(() => {
      const [some, whole] = [forward(model, [2 ** 30, 9, 2 ** 30, 1, 9, 9]), forward(model, null)]
      expectClose(some.logits.narrow(0, 0, 3), whole.logits.narrow(0, 0, 3), 0) // before the one with fewer
      expect(some.logits.select(0, 3).equal(whole.logits.select(0, 3))).toBe(false)
      for (const [i, { served }] of some.routings.entries()) {
        const other = whole.routings[i]?.served
        if (served.kind !== 'token' || other?.kind !== 'token') throw new Error('tokens choose')
        if (i === 0)
          for (const row of [0, 1, 2, 4, 5])
            expectClose(served.weights.select(0, row), other.weights.select(0, row), 0)
      }
    })
  })
})

test('more than the router chooses, or none, are refused', () => {
  using model = open('mixtral')
  expect(() => serveFewer(model, { expertsPerToken: 3 })).toThrow(
    'expertsPerToken: must be in 1..2 (the experts that a token chooses), got 3',
  )
  expect(() => serveFewer(model, { expertsPerToken: 0 })).toThrow('expertsPerToken: must be in 1..2')
  using encoderDecoder = openModel(fixture('switch_transformers')).load({ kind: 'text' })
  expect(() => serveFewer(encoderDecoder, { expertsPerToken: 1 })).toThrow(
    'expertsPerToken: is for models whose tokens choose several',
  )
})
