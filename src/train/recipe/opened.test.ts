// What a recipe takes over from the config.json of the model that it goes on with.
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { temporaryFolder } from '../../../tests/support/cli.ts'
import { fixture } from '../../../tests/support/fixtures.ts'
import { openModel, setDropout, type TrainableModel } from '../../models/index.ts'
import { checkRecipe } from './check.ts'
import type { Recipe } from './schema.ts'

const recipeOf = (from: string, more: object = {}): Recipe =>
  checkRecipe(
    {
      ...{ name: 'x', steps: 1, model: { from }, optimizer: { learningRate: 1 } },
      ...{ data: { path: 'x', sequenceLength: 8, batchSize: 2 }, ...more },
    },
    'test',
  )

/** A model's folder with other values in its config.json. */
function withConfig(name: string, fields: object): string {
  const folder = join(temporaryFolder(), name)
  cpSync(fixture(name), folder, { recursive: true })
  const file = join(folder, 'config.json')
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...fields }))
  return folder
}

describe('rates of dropout', () => {
  test.each([
    ['switch_transformers', { dropout_rate: 0.2 }, { hidden: 0.2, attention: 0.2, experts: 0.2 }],
    ['switch_transformers', { dropout_rate: undefined }, { hidden: 0, attention: 0, experts: 0 }],
    ['nllb_moe', {}, { hidden: 0.1, attention: 0.1, experts: 0 }],
    [
      'nllb_moe',
      { dropout: 0.3, attention_dropout: null, activation_dropout: 0.2 },
      { hidden: 0.3, attention: 0, experts: 0.2 },
    ],
    ['olmoe', {}, { hidden: 0, attention: 0 }],
  ])('%s with %j has %j', (name, fields, rates) => {
    const from = withConfig(name, fields)
    expect(recipeOf(from).dropout).toEqual(rates)
    const model = openModel(from).load({ mapped: false }) as TrainableModel
    setDropout(model, rates) // there is a place for each
    model.dispose()
  })

  test('of experts are not there where there are none', () => {
    const dense = { encoder_sparse_step: 0, decoder_sparse_step: 0, activation_dropout: 0.2 }
    expect(recipeOf(withConfig('nllb_moe', dense)).dropout).toEqual({ hidden: 0.1, attention: 0.1 })
    const none = { num_sparse_encoder_layers: 0, num_sparse_decoder_layers: 0 }
    expect(recipeOf(withConfig('switch_transformers', none)).dropout).toEqual({ hidden: 0.1, attention: 0.1 })
  })

  test("are the recipe's where it says them", () => {
    const { dropout } = recipeOf(fixture('nllb_moe'), { dropout: { hidden: 0, experts: 0.4 } })
    expect(dropout).toEqual({ hidden: 0, attention: 0.1, experts: 0.4 })
    expect(() => recipeOf(fixture('nllb_moe'), { dropout: 0.1 })).toThrow('dropout')
  })

  test('that cannot be are refused by name', () => {
    expect(() => openModel(withConfig('nllb_moe', { dropout: 1.5 }))).toThrow(/config\.json: dropout/)
  })
})

test('a complete recipe stands when the model is no more there', () => {
  const from = withConfig('nllb_moe', {})
  const complete = recipeOf(from)
  rmSync(from, { recursive: true })
  expect(checkRecipe(complete, 'test')).toEqual(complete)
})
