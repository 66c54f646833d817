// `switchyard sweep`: combinations and seeds, each trained once.

import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { listCheckpoints } from '../src/models/index.ts'
import { loadRecipe, summarized, sweep, sweepRuns } from '../src/train/index.ts'
import { runCli, startCli, temporaryFolder } from './support/cli.ts'

const folder = temporaryFolder()
const corpus = join(folder, 'corpus')
const recipe = join(folder, 'recipe.yaml')

beforeAll(async () => {
  const prepare = 'data prepare --sample --size 40kB --tokenizer bpe:512 --quiet --out'.split(' ')
  expect((await runCli([...prepare, corpus])).stderr).toBe('')
  writeFileSync(
    recipe,
    `name: swept
seed: 5
model: { type: mixtral, hidden_size: 16, intermediate_size: 16, num_hidden_layers: 1, num_attention_heads: 2, num_local_experts: 4 }
data: { path: ${corpus}, sequenceLength: 32, batchSize: 4 }
optimizer: { learningRate: 1e-2 }
steps: 4
evaluation: { batches: 2 }
`,
  )
})

const command = (out: string, ...args: string[]): string[] => [
  ...[
    'sweep',
    recipe,
    '--out',
    join(folder, out),
    '--grid',
    'optimizer.learningRate=1e-4,3e-2',
    '--quiet',
    ...args,
  ],
]

interface Report {
  combinations: {
    settings: object
    mean: number
    deviation: number
    runs: { seed: number; loss: number; name: string }[]
  }[]
}

test('trains every combination under every seed, the best first, and nothing twice', async () => {
  const args = command('whole', '--seeds', '2', '--json')
  const first = await runCli(args)
  expect(first).toMatchObject({ code: 0, stderr: '' })
  const { combinations } = JSON.parse(first.stdout) as Report
  expect(combinations.map(({ settings }) => settings)).toEqual([
    { 'optimizer.learningRate': 0.03 },
    { 'optimizer.learningRate': 0.0001 },
  ])
  for (const { mean, deviation, runs } of combinations) {
    expect(runs.map(({ seed }) => seed)).toEqual([5, 6])
    const [a, b] = runs.map(({ loss }) => loss) as [number, number]
    expect(mean).toBeCloseTo((a + b) / 2, 12)
    expect(deviation).toBeCloseTo(Math.abs(a - b) / Math.SQRT2, 12)
  }
  const times = (): number[] =>
    readdirSync(join(folder, 'whole')).map(name => statSync(join(folder, 'whole', name, 'run.json')).mtimeMs)
  const before = times()
  expect((await runCli(args)).stdout).toBe(first.stdout)
  expect(times()).toEqual(before)
  const { stdout } = await runCli(command('whole', '--seeds', '2'))
  expect(stdout).toMatch(
    /^optimizer\.learningRate +loss +deviation +runs\n +0\.03 +\d\.\d{4} +0\.\d{4} +2\n +0\.0001 /,
  )
})

test('interrupted, it goes on to the same losses', async () => {
  const options = { recipeOf: (set: readonly string[]) => loadRecipe(recipe, set), grid: [], seeds: 2 }
  const losses = async (out: string, stopAt: number): Promise<(number | null)[]> => {
    const controller = new AbortController()
    const results = []
    let steps = 0
    for await (const event of sweep(sweepRuns(options), {
      out: join(folder, out),
      signal: controller.signal,
    })) {
      if (event.type === 'result') results.push(event)
      if (event.type === 'training' && event.event.type === 'step' && ++steps === stopAt) controller.abort()
    }
    return summarized(results).flatMap(({ runs }) => runs.map(({ loss }) => loss))
  }
  const whole = await losses('straight', Number.NaN)
  expect(whole).toHaveLength(2)
  expect(await losses('parts', 2)).toEqual([]) // within the first run
  expect(await losses('parts', 4)).toEqual(whole.slice(0, 1)) // within the second
  expect(await losses('parts', Number.NaN)).toEqual(whole)
})

test('Ctrl-C ends it after a step, with what is finished, and says how to go on', async () => {
  const { child, ended } = startCli(command('stopped', '--set', 'steps=100000', '--seeds', '1'))
  const run = join(folder, 'stopped', 'optimizer.learningRate=0.0001,seed=5', 'metrics.jsonl')
  await expect
    .poll(() => statSync(run, { throwIfNoEntry: false })?.size ?? 0, { timeout: 20_000 })
    .toBeGreaterThan(0)
  child.kill('SIGINT')
  const { code, stdout, stderr } = await ended
  expect({ code, stdout }).toEqual({ code: 130, stdout: 'no run is finished\n' })
  expect(stderr).toMatch(/0 of 2 runs are finished: .* sweep' with the same options goes on/)
  expect(listCheckpoints(join(run, '..', 'checkpoints'))).toHaveLength(1)
})

test('a run that diverges counts as such, and the others go on', async () => {
  const grid = [{ path: 'optimizer.learningRate', values: [1e30, 1e-2] }]
  const recipeOf = (set: readonly string[]) => loadRecipe(recipe, ['maxBadSteps=2', 'steps=6', ...set])
  const results = []
  for await (const event of sweep(sweepRuns({ recipeOf, grid, seeds: 1 }), { out: join(folder, 'wild') }))
    if (event.type === 'result') results.push(event)
  expect(results.map(({ result }) => result.diverged)).toEqual([true, false])
  expect(summarized(results).map(({ mean }) => mean === null)).toEqual([false, true])
})

test.each<[string, string[], RegExp]>([
  ['a value that the recipe refuses, before any run', ['--grid', 'router.k=2,9'], /router\.k: 9 exceeds/],
  ['no values', ['--grid', 'steps'], /--grid: 'steps' is not PATH=VALUE,VALUE/],
  ['an axis twice', ['--grid', 'optimizer.learningRate=1'], /--grid: optimizer\.learningRate is there twice/],
  ['a seed', ['--grid', 'seed=1,2'], /--grid: seed is counted on: use --seeds/],
  ['values that are one', ['--grid', 'steps=2,2'], /--grid: two runs would both be/],
])('%s is refused', async (_, args, message) => {
  const { code, stderr, stdout } = await runCli(command('refused', ...args))
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toMatch(message)
})

test('results of another recipe are not mixed in', async () => {
  const recipeOf = (set: readonly string[]) => loadRecipe(recipe, set)
  const [run] = sweepRuns({ recipeOf, grid: [], seeds: 1 })
  const out = join(folder, 'other')
  for await (const _ of sweep(run ? [run] : [], { out }));
  const other = sweepRuns({ recipeOf: set => recipeOf([...set, 'steps=5']), grid: [], seeds: 1 })
  const again = async (): Promise<void> => {
    for await (const _ of sweep(other, { out }));
  }
  await expect(again()).rejects.toThrow(
    /^out: .*seed=5 is the result of another recipe: choose another folder/,
  )
  expect(JSON.parse(readFileSync(join(out, 'seed=5', 'sweep-result.json'), 'utf8')).step).toBe(4)
})
