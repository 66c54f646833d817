// From a model and text to a quantized file: the command as users run it.
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { readImportanceMatrix } from '../src/lifecycle/index.ts'
import { createModel, openModel, parseModelConfig, saveModel } from '../src/models/index.ts'
import { manualSeed } from '../src/torch/index.ts'
import { runCli, temporaryFolder } from './support/cli.ts'

const folder = temporaryFolder()
const path = (name: string): string => join(folder, name)
const [model, corpus, imatrix] = [path('model'), path('corpus'), path('tiny.imatrix')]

beforeAll(async () => {
  const prepare = ['data', 'prepare', '--sample', '--size', '40kB', '--tokenizer', 'bytes']
  await runCli([...prepare, '--validation', '0.2', '--out', corpus, '--quiet'])
  const fixture = readFileSync(join(import.meta.dirname, 'fixtures/mixtral/config.json'), 'utf8')
  const config = parseModelConfig({ ...JSON.parse(fixture), vocab_size: 320 })
  manualSeed(1)
  mkdirSync(model)
  saveModel(model, createModel(config), config)
  copyFileSync(join(corpus, 'tokenizer.json'), join(model, 'tokenizer.json'))
})

const quantize = (out: string, ...args: string[]) =>
  runCli(['quantize', model, '--out', path(out), '--no-tokenizer', '--sequence-length', '64', ...args])
const onCorpus = (out: string, ...args: string[]) =>
  quantize(out, '--data', corpus, '--batches', '2', ...args)

describe('quantize', () => {
  test('says what became of each tensor, and keeps what it collected', async () => {
    const { code, stdout, stderr } = await onCorpus('q4.gguf', '--type', 'q4_0', '--imatrix-out', imatrix)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^tensor +type +bits +error +to nearest +samples +median\n/)
    expect(stdout).toMatch(/\nblk\.0\.ffn_gate_exps +Q4_0 +4\.50 +\S+e-\d +\S+e-\d +\d+ +\d+\n/)
    expect(stdout).toMatch(/\nok .*q4\.gguf: \d+ tensors, [\d.]+ bits per weight, [\d.]+ kB\n$/)
    expect(openModel(path('q4.gguf')).config.model_type).toBe('mixtral')
    expect(readImportanceMatrix(imatrix)).toMatchObject({ datasets: [corpus], chunks: 8, chunkSize: 64 })
  })

  test('takes importance from a file, and a budget', async () => {
    const args = ['--imatrix', imatrix, '--bits', '7', '--types', 'q8_0,q4_0', '--json']
    const { code, stdout } = await quantize('bits.gguf', ...args)
    expect(code).toBe(0)
    const { bitsPerWeight, tensors } = JSON.parse(stdout)
    expect(bitsPerWeight).toBeLessThanOrEqual(7)
    expect(new Set(tensors.map(({ type }: { type: string }) => type))).toEqual(
      new Set(['F32', 'Q4_0', 'Q8_0']),
    )
  })

  test('shows perplexity before and after, per domain', async () => {
    const { code, stdout } = await onCorpus('evaluated.gguf', '--type', 'q8_0', '--evaluate')
    expect(code).toBe(0)
    expect(stdout).toMatch(/\nperplexity\n\ndomain +before +after +change\n/)
    expect(stdout).toMatch(/\nall +[\d.]+ +[\d.]+ +[+-][\d.]+%\n$/)
  })

  test('rounds by GPTQ', async () => {
    const { code, stdout } = await onCorpus('gptq.gguf', '--type', 'q4_0', '--method', 'gptq')
    expect(code).toBe(0)
    expect(stdout).toMatch(/\nmatrices: \d+ by GPTQ, \d+ fitted, \d+ to nearest\.\n/)
  })

  test('reads a file', async () => {
    writeFileSync(path('text.txt'), 'All of it is said in so many words. '.repeat(20))
    const { code, stdout } = await quantize(
      'text.gguf',
      '--text',
      path('text.txt'),
      '--type',
      'mxfp4',
      '--quiet',
    )
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
  })

  test.each([
    ['no text', [], '--data: is missing: name a corpus, a file with --text, or an --imatrix'],
    ['a budget below all types', ['--data', corpus, '--bits', '1'], 'budget: allows \\d+ bytes, but the'],
    ['an unknown type', ['--data', corpus, '--type', 'q9'], "--type: 'q9' is not a type that can be written"],
    [
      'two ways to choose',
      ['--data', corpus, '--type', 'q8_0', '--bits', '5'],
      '.*cannot be used with option',
    ],
    ['evaluation without a corpus', ['--imatrix', imatrix, '--evaluate'], '--evaluate: needs a corpus'],
    ['GPTQ without text', ['--imatrix', imatrix, '--method', 'gptq'], '--method: needs text'],
    ['what is no matrix', ['--imatrix', join(model, 'config.json')], '.*does not begin with GGUF'],
  ])('refuses %s', async (_, args, message) => {
    const { code, stderr } = await quantize('refused.gguf', ...args)
    expect(code).toBeGreaterThan(0)
    expect(stderr).toMatch(new RegExp(`^error: ${message}`))
    expect(existsSync(path('refused.gguf'))).toBe(false)
  })

  test('writes over no file, and to .gguf alone', async () => {
    writeFileSync(path('there.gguf'), 'mine')
    expect((await onCorpus('there.gguf')).stderr).toMatch(/^error: --out: .*there\.gguf exists: remove it/)
    expect(readFileSync(path('there.gguf'), 'utf8')).toBe('mine')
    expect((await onCorpus('there')).stderr).toMatch(/^error: --out: must end in \.gguf/)
  })
})
