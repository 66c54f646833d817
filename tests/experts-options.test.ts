// The options that decide which experts run, as users give them: what they change, and what the commands tell of it.
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { runCli, startCli, temporaryFolder } from './support/cli.ts'
import { writeServedModel } from './support/served-model.ts'

const folder = temporaryFolder()
const { folder: model } = writeServedModel(folder)
const [corpus, trace, hints] = ['corpus', 'a.trace', 'a.hints'].map(name => join(folder, name)) as [
  string,
  string,
  string,
]

beforeAll(async () => {
  const sample = [
    'data',
    'prepare',
    '--sample',
    '--size',
    '20kB',
    '--tokenizer',
    'bytes',
    '--validation',
    '0.2',
  ]
  await runCli([...sample, '--out', corpus, '--quiet'])
  copyFileSync(join(corpus, 'tokenizer.json'), join(model, 'tokenizer.json'))
  await runCli(['routing', 'trace', model, '--data', corpus, '--batches', '2', '--out', trace, '--quiet'])
  await runCli(['hints', trace, '--out', hints, '--quiet'])
})

const evaluate = async (...args: string[]) => {
  const windows = ['--data', corpus, '--batches', '2', '--batch-size', '1', '--sequence-length', '32']
  const { code, stdout, stderr } = await runCli(['eval', model, ...windows, '--json', '--quiet', ...args])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout)
}

test('inspect counts the copies that --on-miss would have', async () => {
  const planOf = async (...args: string[]) =>
    JSON.parse((await runCli(['inspect', model, '--json', ...args])).stdout).budget.plan
  const { fixed, cache, working, allExperts } = await planOf('--memory', '2GB')
  const memory = ['--memory', `${Math.ceil(fixed + cache + working + 0.8 * allExperts)}`]
  const [without, within] = [await planOf(...memory), await planOf(...memory, '--on-miss', 'q4_0')]
  expect(without.copies).toBe(0)
  expect(within.copies).toBe((allExperts * 18) / (32 * 4)) // of f32
  expect(within.experts).toBe(without.experts - within.copies)
  const { stdout } = await runCli(['inspect', model, ...memory, '--on-miss', 'q4_0'])
  expect(stdout).toMatch(/\ncopies of all experts +[\d.]+ kB/)
})

test('inspect shows what fits on a device', async () => {
  const sizes = ['--memory', '2GB', '--device-memory', '20MB']
  const { plan, onDevice, total } = JSON.parse(
    (await runCli(['inspect', model, '--json', ...sizes])).stdout,
  ).budget
  expect(plan.device.experts).toBe(plan.device.allExperts)
  expect(onDevice).toBe(total)
  expect((await runCli(['inspect', model, ...sizes])).stdout).toMatch(/\non the device/)
})

describe('eval', () => {
  test('within a budget, token by token, gives the loss of whole windows, and what the store has done', async () => {
    const [whole, within] = [await evaluate(), await evaluate('--memory', '2GB')]
    // Sums of other lengths in attention and kernels: some roundings of f32, over few layers.
    expect(within.loss).toBeCloseTo(whole.loss, 3)
    expect(within.experts).toMatchObject({ resident: 8, total: 8, copied: 0, replaced: 0 })
    expect(within.experts.bytesRead).toBeGreaterThan(0)
    // All fit: there is nothing to do without.
    for (const how of ['resident', 'q4_0'])
      expect((await evaluate('--memory', '2GB', '--on-miss', how)).loss).toBe(within.loss)
  })

  test('says what hints change', async () => {
    const [plain, { loss, hints: counts }] = [await evaluate(), await evaluate('--hints', hints)]
    expect(counts.chosen).toBe(2 * 32 * 2 * 2) // windows, tokens, layers, experts of each
    expect(counts.served).toBeGreaterThan(0)
    expect(counts.served).toBeLessThan(counts.chosen)
    expect(loss).not.toBe(plain.loss)
  })
})

test('generate tells what stood in for experts', async () => {
  // So large that a budget in MB can leave some out, whatever the process takes, which differs by 20 MB: 16 experts of 3.3 MB.
  const fields = { hidden_size: 512, intermediate_size: 2048, num_experts: 8 }
  const { gguf } = writeServedModel(temporaryFolder(), { fields })
  const generate = (memory: string) => {
    const options = ['--memory', memory, '--on-miss', 'q4_0', '--max-new-tokens', '8', '--temperature', '0']
    return runCli(['generate', gguf, '--prompt', 'Once', ...options, '--json'])
  }
  const { stderr } = await generate('1MB')
  const [, least] = /by copies of experts; the least that works is (\d+) MB/.exec(stderr) ?? []
  const written = await generate(`${Number(least) + 20}MB`)
  const { experts } = JSON.parse(written.stdout)
  expect(experts.total).toBe(16)
  expect(experts.copied).toBeGreaterThan(0)
  expect(experts.copied + experts.hitRate).toBeCloseTo(1, 12) // nothing was waited for
  expect(written.stderr).toContain('copies in q4_0 stand in for experts that are not in memory')
})

test('chat tells of the store and of hints', async () => {
  const { child, ended } = startCli(['chat', model, '--memory', '2GB', '--json', '--hints', hints])
  child.stdin?.end('hello\n')
  const { stdout, stderr } = await ended
  expect(stderr).toContain('note: hints choose experts')
  const answer = JSON.parse(stdout)
  expect(answer.experts.bytesRead).toBeGreaterThan(0)
  expect(answer.experts.hitRate).toBeGreaterThan(0)
  expect(answer.hints.chosen).toBeGreaterThan(0)
})
