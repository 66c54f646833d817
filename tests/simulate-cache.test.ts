// From a model and text to a recording, and from that to what caches would have done: the two commands as users run them.
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { simulatedPolicies } from '../src/engine/index.ts'
import { createModel, parseModelConfig, saveModel } from '../src/models/index.ts'
import { manualSeed } from '../src/torch/index.ts'
import { cacheFolder, runCli, temporaryFolder } from './support/cli.ts'

const folder = temporaryFolder()
const path = (name: string): string => join(folder, name)
const [model, corpus, recording] = [path('model'), path('corpus'), path('tiny.trace')]

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

const trace = (...args: string[]) => runCli(['routing', 'trace', model, ...args])

describe('routing trace', () => {
  test('records windows of a corpus', async () => {
    const { code, stdout, stderr } = await trace('--data', corpus, '--batches', '3', '--out', recording)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(
      /^ok .*tiny\.trace: [\d,]+ tokens of 24 texts; 2 layers of \d+ experts of .*B, 2 chosen\n$/,
    )
    expect(existsSync(recording)).toBe(true)
  })

  test('records a file, cut where the window ends, and takes the place of an older recording', async () => {
    const text = path('text.txt')
    writeFileSync(text, 'a'.repeat(50))
    const args = ['--text', text, '--sequence-length', '20', '--out', path('text.trace'), '--json']
    for (let run = 0; run < 2; run++) {
      const { code, stdout } = await trace(...args)
      expect(code).toBe(0)
      expect(JSON.parse(stdout)).toMatchObject({ tokens: 50, texts: 3, topK: 2, model })
    }
  })

  test.each([
    ['an empty text', '', '--text: .* holds no text'],
    ['a window beyond the positions', 'text', "--sequence-length: 9999 exceeds the model's \\d+ positions"],
  ])('refuses %s', async (_, content, message) => {
    const text = path('refused.txt')
    writeFileSync(text, content)
    const length = content === '' ? [] : ['--sequence-length', '9999']
    const { code, stderr } = await trace('--text', text, '--out', path('refused'), ...length)
    expect(code).toBe(2)
    expect(stderr).toMatch(new RegExp(`^error: ${message}`))
    expect(existsSync(path('refused'))).toBe(false)
  })
})

describe('simulate-cache', () => {
  test('shows every policy, what is read, reading ahead, and curves, in 80 columns', async () => {
    const { code, stdout } = await runCli(['simulate-cache', recording])
    expect(code).toBe(0)
    for (const name of [...simulatedPolicies, 'uniform', 'read per token', 'ahead %', '100% |'])
      expect(stdout).toContain(name)
    const [, ...lines] = stdout.split('\n') // the first has the model's path
    expect(Math.max(...lines.map(line => line.length))).toBeLessThanOrEqual(80)
    expect(stdout).toMatch(/^[\n -~]+$/)
  })

  test('gives the same as JSON, for some policies and a shared pool', async () => {
    const args = ['--policy', 'lru,belady', '--capacity', '50%', '--pools', 'global', '--json', '--quiet']
    const { code, stdout, stderr } = await runCli(['simulate-cache', recording, ...args])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const { capacities, pools, poolExperts } = JSON.parse(stdout)
    expect({ pools, capacities: capacities.length }).toEqual({ pools: 'global', capacities: 1 })
    expect(capacities[0].capacity).toBe(poolExperts / 2)
    const { lru, belady, ...others } = capacities[0].hitRates
    expect(others).toEqual({})
    expect(belady).toBeGreaterThanOrEqual(lru)
  })

  test('says that a truncated recording is one', async () => {
    const short = path('short.trace')
    writeFileSync(short, readFileSync(recording).subarray(0, -10))
    const { code, stderr } = await runCli(['simulate-cache', short])
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^error: .*short\.trace: .* follow the header: it is truncated; record it again\n$/,
    )
  })
})

describe('hints', () => {
  const hints = path('model.hints')

  test('are made of a recording, and replayed', async () => {
    const { code, stdout } = await runCli(['hints', recording, '--out', hints])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^ok .*model\.hints: hints of \d+ tokens for 2 layers, \d\.\d experts each\n$/)
    const ahead = async (how: string) => {
      const args = ['--policy', 'lru', '--capacity', '50%', '--json', '--prefetch', how]
      const result = await runCli(['simulate-cache', recording, ...args])
      return JSON.parse(result.stdout).capacities[0].suggested.prefetch
    }
    expect((await ahead(`hints:${hints}`)).useful).toBeGreaterThan(0)
    expect(await ahead('off')).toBeNull()
  })

  test('are what a recording can be replayed with, and routers are not', async () => {
    const { code, stderr } = await runCli(['simulate-cache', recording, '--prefetch', 'router'])
    expect(code).toBe(2)
    expect(stderr).toMatch(/^error: --prefetch: 'router' asks a running model/)
  })
})

describe('generate within a budget', () => {
  const write = async () => {
    const args = [
      '--prompt',
      'In',
      '--max-new-tokens',
      '8',
      '--temperature',
      '0',
      '--memory',
      '2GiB',
      '--json',
    ]
    const { code, stdout, stderr } = await runCli(['generate', model, ...args])
    expect(code).toBe(0)
    return { stderr, ...JSON.parse(stdout) }
  }

  test('reads at once what was used before, and goes without when what it kept is damaged', async () => {
    const first = await write()
    expect(first.experts.hitRate).toBeLessThan(1)
    const second = await write()
    expect(second.experts.hitRate).toBe(1)
    const folder = join(cacheFolder, 'switchyard/experts')
    for (const name of readdirSync(folder)) writeFileSync(join(folder, name), '{')
    const third = await write()
    expect(third.stderr).toMatch(/note: .*\.json holds no counts of experts: ignored\n/)
    expect(third.experts.hitRate).toBe(first.experts.hitRate)
    expect([second.text, third.text]).toEqual([first.text, first.text])
  })
})
