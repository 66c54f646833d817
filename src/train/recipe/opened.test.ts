// Dropout in the experts of models that are there.
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { temporaryFolder } from '../../../tests/support/cli.ts'
import { decoders, encoderDecoders, fixture } from '../../../tests/support/fixtures.ts'
import { createModel, parseModelConfig, saveModel, type TrainableModel } from '../../models/index.ts'
import { StackedExperts } from '../../moe/index.ts'
import { noGrad, randn, tidy } from '../../torch/index.ts'
import { loadOpened } from './opened.ts'

const open = (
  from: string,
  expertDropout: number,
  weights: 'decoded' | 'stored' = 'decoded',
): TrainableModel => loadOpened({ type: 'opened', from, weights, expertDropout })

const expertsOf = (model: TrainableModel): StackedExperts[] =>
  [...model.namedModules()].flatMap(([, part]) => (part instanceof StackedExperts ? part : []))

test.each([...decoders, ...encoderDecoders])('%s: in training, and not in evaluation', name => {
  noGrad(() =>
    tidy(() => {
      const [experts, plain] = [expertsOf(open(fixture(name), 0.5)), expertsOf(open(fixture(name), 0))]
      const x = randn([64, experts[0]?.stacks.down.shape[1] ?? 0], { seed: 1 })
      for (const [i, each] of experts.entries()) {
        const whole = plain[i]?.expert(1, x) ?? x
        expect(each.expert(1, x).equal(whole)).toBe(false)
        each.eval()
        expect(each.expert(1, x).equal(whole)).toBe(true)
      }
    }),
  )
})

test('of a model without experts it is refused', () => {
  const folder = join(temporaryFolder(), 'mistral')
  const sizes = { vocab_size: 16, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1 }
  const heads = { num_attention_heads: 1, num_key_value_heads: 1 }
  const config = parseModelConfig({ model_type: 'mistral', ...sizes, ...heads }, 'test')
  using model = createModel(config)
  saveModel(folder, model, config)
  expect(() => open(folder, 0.1)).toThrow(`model.expertDropout: is for experts, of which ${folder} has none`)
})
