// Every architecture against Hugging Face transformers, and through the tests that all models share.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { variants } from '../../../tests/support/architecture-variants.ts'
import { runModelTests } from '../../../tests/support/model-runner.ts'
import { parseModelConfig, readModelConfig, verifyModel } from '../index.ts'

const fixture = (name: string): string =>
  fileURLToPath(new URL(`../../../tests/fixtures/${name}`, import.meta.url))

describe.each(Object.entries(variants))('%s', (name, changes) => {
  test('logits within 1e-5 of transformers, greedy tokens equal', async () => {
    const folder = fixture(name)
    const checks = await verifyModel(folder, join(folder, 'reference.safetensors'), 1e-5)
    expect(checks.map(({ name, ok }) => [name, ok])).toEqual([
      ['logits', true],
      ['generated', true],
    ])
  })

  runModelTests(readModelConfig(fixture(name)))

  describe.each(changes)('with %j', change => {
    const json: unknown = JSON.parse(readFileSync(join(fixture(name), 'config.json'), 'utf8'))
    runModelTests(parseModelConfig({ ...(json as object), ...change }, name))
  })
})
