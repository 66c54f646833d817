import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { isEncoderDecoder } from '../../models/index.ts'
import { loadRecipe } from './load.ts'
import { modelConfigOf, resolveRecipe } from './model-config.ts'

const folder = fileURLToPath(new URL('../../../recipes', import.meta.url))

test.each(readdirSync(folder))('recipes/%s is one, under its own name', file => {
  const recipe = loadRecipe(join(folder, file), [])
  expect(`${recipe.name}.yaml`).toBe(file)
  const vocabulary = { size: 2048, domains: ['en'], pad: 0, bos: 1, eos: 2 }
  const config = modelConfigOf(resolveRecipe(recipe, vocabulary), vocabulary)
  const size = isEncoderDecoder(config) ? 'd_model' : 'hidden_size'
  expect(recipe.model).toHaveProperty(size, config[size as keyof typeof config])
})
