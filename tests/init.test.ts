// `switchyard init`: what it writes is a model for every other command, and mistakes are one line each.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { byteTokenizerFiles } from '../src/data/index.ts'
import { main, runCli, temporaryFolder } from './support/cli.ts'

const folder = temporaryFolder()
const place = (name: string): string => join(folder, name)

const tokenizer = place('tokenizer')
mkdirSync(tokenizer)
for (const [name, content] of Object.entries(byteTokenizerFiles()))
  writeFileSync(join(tokenizer, name), content)

const config = place('config.json')
writeFileSync(
  config,
  JSON.stringify({
    model_type: 'mixtral',
    vocab_size: 259,
    hidden_size: 64,
    intermediate_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    num_local_experts: 8,
    max_position_embeddings: 128,
  }),
)

const recipe = join(main, '../../../recipes/tiny-moe.yaml')

test.each(['folder', 'file.gguf'])('a config.json to a %s, which opens everywhere', async name => {
  const out = place(name)
  const made = await runCli(['init', config, '--out', out, '--tokenizer', tokenizer])
  expect(made).toMatchObject({ code: 0, stdout: expect.stringMatching(/^ok .*: mixtral, \d+ tensors, /) })
  expect((await runCli(['inspect', out])).stdout).toContain('8 experts top-2')
  expect((await runCli(['verify', out])).code).toBe(0)
  const written = await runCli(['generate', out, '--prompt', 'ab', '--max-new-tokens', '4', '--json'])
  expect(written.code).toBe(0)
})

test('a recipe, with the vocabulary of a tokenizer', async () => {
  const out = place('tiny')
  const made = await runCli(['init', recipe, '--out', out, '--tokenizer', tokenizer, '--json', '--seed', '2'])
  expect(JSON.parse(made.stdout)).toMatchObject({ model_type: 'mixtral', out })
  expect(JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'))).toMatchObject({
    ...{ vocab_size: 259, num_local_experts: 8, eos_token_id: 2 },
  })
})

test('blocks by role, silently, and the same file for the same seed', async () => {
  const files = ['one.gguf', 'two.gguf'].map(place) as [string, string]
  for (const out of files) {
    const { stdout, stderr } = await runCli([
      'init',
      config,
      '--out',
      out,
      '--dtype',
      'q8_0,experts=q4_0',
      '--quiet',
    ])
    expect(stdout + stderr).toBe('')
  }
  expect(readFileSync(files[0]).equals(readFileSync(files[1]))).toBe(true)
})

test('an encoder-decoder of a recipe, which wants a tokenizer', async () => {
  const switchTiny = join(main, '../../../recipes/switch-tiny.yaml')
  const out = place('switch')
  expect((await runCli(['init', switchTiny, '--out', out, '--tokenizer', tokenizer])).code).toBe(0)
  expect(JSON.parse(readFileSync(join(out, 'config.json'), 'utf8'))).toMatchObject({
    ...{ vocab_size: 259, eos_token_id: 2, decoder_start_token_id: 0, num_experts: 8 },
  })
  const { stderr } = await runCli(['init', switchTiny, '--out', place('none')])
  expect(stderr).toContain('--tokenizer: is missing: an encoder-decoder takes the ids')
})

const small = place('small.json')
writeFileSync(small, readFileSync(config, 'utf8').replace('259', '100'))
const gguf = place('once.gguf')

test.each([
  [[recipe], /tiny-moe.yaml: model.vocab_size: is missing, .*: set it, or give --tokenizer/],
  [[config, '--dtype', 'q8_0'], /--dtype: 'q8_0' is not one of f32, bf16, f16; for blocks name a .gguf file/],
  [[config, '--skew', '-1'], /--skew: must be a number of at least 0, got '-1'/],
  [['preset:none'], /preset:none: is no preset; there are mixtral-8x7b/],
  [['preset:switch-c'], /can be counted but not made; these can: mixtral-8x7b/],
  [[place('none')], /no such file or folder/],
  [[config, '--tokenizer', folder], /--tokenizer: .* has no tokenizer.json/],
  [[small, '--tokenizer', tokenizer], /--tokenizer: has 259 tokens, and .* a vocabulary of 100/],
])('%j is one line', async (args, message) => {
  const { code, stderr } = await runCli(['init', ...args, '--out', place('never')])
  expect(code).toBe(2)
  expect(stderr).toMatch(message)
  expect(stderr.trim().split('\n').length).toBe(1)
})

test('what is there stays', async () => {
  expect((await runCli(['init', config, '--out', gguf])).code).toBe(0)
  const again = await runCli(['init', config, '--out', gguf, '--seed', '1'])
  expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining('exists: remove it') })
})
