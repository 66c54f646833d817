import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { expectClose } from '../../tests/support/tensors.ts'
import { openModel, tokensOf } from '../models/index.ts'
import { inferenceMode, randint, type Tensor, tidy } from '../torch/index.ts'
import { MoeLayer, serveFewer } from './index.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../tests/fixtures/${name}`, import.meta.url))

const routingsOf = (model: ReturnType<typeof open>) =>
  inferenceMode(() => model.forward(tokensOf(randint(3, 90, [2, 9], { seed: 1 }))).routings)
const open = (name: string) => openModel(fixture(name)).load({ kind: 'decoder' })

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
