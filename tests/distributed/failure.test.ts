// Ranks that cannot go on: who is named, how they leave, and that they go on as if nothing had happened.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { type CliResult, main, runCli, startCli, temporaryFolder } from '../support/cli.ts'
import { freePort } from '../support/ranks.ts'

const folder = temporaryFolder()
const corpus = join(folder, 'corpus')
const recipe = join(folder, 'recipe.yaml')
const path = (name: string): string => join(folder, name)

beforeAll(async () => {
  const prepared = await runCli(
    ['data', 'prepare', '--sample', '--size', '40kB', '--tokenizer', 'bpe:512', '--out', corpus].concat(
      '--quiet',
    ),
  )
  expect(prepared.stderr).toBe('')
  writeFileSync(
    recipe,
    `name: test
model: { type: mixtral, hidden_size: 32, intermediate_size: 32, num_hidden_layers: 2, num_attention_heads: 2, num_local_experts: 4 }
data: { path: ${corpus}, sequenceLength: 32, batchSize: 4 }
optimizer: { kind: adamw, learningRate: 3e-3 }
schedule: { kind: constant }
steps: 100000
evaluation: { batches: 1 }
checkpoint: { every: 5, keepLast: 2 }
logging: { every: 1 }
`,
  )
})

interface Rank {
  kill(signal: NodeJS.Signals): void
  ended: Promise<CliResult>
}

/** A rank, as whoever starts ranks starts it. */
function startRank(rank: number, port: number, args: readonly string[], size = 2): Rank {
  const env = {
    ...process.env,
    ...{ RANK: `${rank}`, WORLD_SIZE: `${size}`, MASTER_ADDR: '127.0.0.1', MASTER_PORT: `${port}` },
    ...{ SWITCHYARD_THREADS: '1', SWITCHYARD_GEMM: 'libtorch', NO_COLOR: '1' },
  }
  const child = spawn(process.execPath, [main, 'train', recipe, '--quiet', ...args], { env })
  const ended = new Promise<CliResult>((resolve, reject) => {
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', chunk => (stdout += chunk))
    child.stderr.on('data', chunk => (stderr += chunk))
    child.once('error', reject).once('close', code => resolve({ code, stdout, stderr }))
  })
  return { kill: signal => child.kill(signal), ended }
}

async function startBoth(out: string, ...args: string[]): Promise<[Rank, Rank]> {
  const port = await freePort()
  const all = ['--out', path(out), '--mesh', 'expert=2', ...args]
  return [startRank(0, port, all), startRank(1, port, all)]
}

const stepsOf = (out: string): Record<number, number> => {
  const file = join(path(out), 'metrics.jsonl')
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : []
  const steps = lines.map(line => JSON.parse(line)).filter(({ losses }) => losses)
  return Object.fromEntries(steps.map(({ step, losses }) => [step, losses.total]))
}

const reached = (out: string, step: number): Promise<void> =>
  vi.waitFor(() => expect(stepsOf(out)[step]).toBeDefined(), { timeout: 30_000, interval: 100 })

test('a rank that is killed is named by the other; started again, both go on as if nothing had happened', async () => {
  const [first, second] = await startBoth('killed')
  await reached('killed', 12)
  second.kill('SIGKILL')
  expect(await first.ended).toMatchObject({
    code: 75,
    stderr: 'error: rank 1 gives no sign of life: all ranks leave, start them again to go on\n',
  })
  await second.ended
  const steps = ['--set', 'steps=20']
  for (const rank of await startBoth('killed', '--resume', ...steps))
    expect(await rank.ended).toMatchObject({ code: 0, stderr: '' })
  for (const rank of await startBoth('undisturbed', ...steps)) expect((await rank.ended).code).toBe(0)
  const undisturbed = stepsOf('undisturbed')
  expect(Object.keys(undisturbed)).toHaveLength(20)
  expect(stepsOf('killed')).toEqual(undisturbed)
})

test('an error in mid-run reaches ranks that wait, long before their time is over', async () => {
  const blocked = path('blocked')
  const [first, second] = await startBoth('blocked', '--set', 'checkpoint.every=0')
  await reached('blocked', 3)
  rmSync(join(blocked, 'checkpoints'), { recursive: true, force: true })
  writeFileSync(join(blocked, 'checkpoints'), 'no folder')
  first.kill('SIGINT') // ends with a checkpoint, which finds no place
  const [own, told] = await Promise.all([first.ended, second.ended])
  expect(own.code).toBe(1)
  expect(told).toMatchObject({ code: 75, stderr: expect.stringMatching(/^error: rank 0 failed \(/) })
})

test('launch tells of a rank that was killed, and leaves none behind', async () => {
  const args = ['train', recipe, '--quiet', '--out', path('launched'), '--mesh', 'expert=2']
  const { child, ended } = startCli(['launch', '-n', '2', ...args])
  await reached('launched', 3)
  const ranks = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ')
  expect(ranks).toHaveLength(2)
  process.kill(Number(ranks[1]), 'SIGKILL')
  expect(await ended).toMatchObject({ code: 75, stderr: expect.stringMatching(/^error: rank 1 gives no/) })
  expect(ranks.filter(rank => existsSync(`/proc/${rank}`))).toEqual([])
})

test('a rank that stands still is named when the time is over', async () => {
  const [first, second] = await startBoth('still', '--rank-timeout', '3')
  await reached('still', 3)
  second.kill('SIGSTOP')
  expect(await first.ended).toMatchObject({
    code: 75,
    stderr: expect.stringContaining('rank 1 gives no sign of life'),
  })
  second.kill('SIGKILL')
})

test('where the first rank is gone, so is the store, which is said', async () => {
  const [first, second] = await startBoth('headless')
  await reached('headless', 3)
  first.kill('SIGKILL')
  expect(await second.ended).toMatchObject({
    code: 75,
    stderr: expect.stringMatching(/^error: rank 0, which keeps/),
  })
})

test('an error of one rank is its own, and told to the other', async () => {
  mkdirSync(path('taken'))
  writeFileSync(join(path('taken'), 'file'), '')
  const [first, second] = await startBoth('taken')
  expect(await first.ended).toMatchObject({ code: 2, stderr: expect.stringContaining('--out: ') })
  expect(await second.ended).toMatchObject({
    code: 75,
    stderr: expect.stringMatching(/^error: rank 0 failed \(out: .* is not empty/),
  })
})

describe('refused, with one line:', () => {
  const alone = async (rank: number, ...args: string[]): Promise<CliResult> =>
    startRank(rank, await freePort(), ['--rank-timeout', '1', '--out', path('none'), ...args]).ended

  test('a rank that does not come', async () => {
    expect(await alone(0)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error: --mesh: rank 1 of 2 did not come within 1 s/),
    })
  })

  test('a meeting where nobody is', async () => {
    expect(await alone(1)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error: MASTER_ADDR: rank 1 reaches nobody at 127/),
    })
  })

  test('a port that is taken', async () => {
    const server = createServer()
    const port = await new Promise<number>(resolve => {
      server.listen(0, () => resolve((server.address() as { port: number }).port))
    })
    const { code, stderr } = await startRank(0, port, ['--rank-timeout', '1', '--out', path('none')]).ended
    server.close()
    expect(code).toBe(2)
    expect(stderr).toBe(
      `error: MASTER_PORT: ${port} is taken on this machine: choose another for all ranks\n`,
    )
  })

  test.each([
    ['data=3', /^error: --mesh: data=3 is of 3 ranks, 2 were started/],
    ['experts=2', /^error: --mesh: 'experts=2' is no axis=size/],
  ])('the mesh %s', async (mesh, line) => {
    expect(await alone(0, '--mesh', mesh)).toMatchObject({ code: 2, stderr: expect.stringMatching(line) })
  })

  test('another recipe', async () => {
    const port = await freePort()
    const args = ['--out', path('unlike')]
    const ranks = [startRank(0, port, args), startRank(1, port, [...args, '--set', 'seed=2'])]
    for (const rank of ranks)
      expect(await rank.ended).toMatchObject({
        code: 2,
        stderr: 'error: --mesh: rank 1 has another recipe than rank 0: start all alike\n',
      })
  })

  test.each([
    [['--mesh', 'tensor=2'], /tensor=2 can be planned, not trained/],
    [['--set', 'data.batchSize=3'], /data.batchSize: 3 rows are not divided evenly among the 2 ranks/],
    [['--mesh', 'expert=2', '--set', 'model.num_local_experts=5'], /expert=2 does not divide the 5 experts/],
  ])('%j', async (args, line) => {
    const { code, stderr } = await runCli([
      'launch',
      '-n',
      '2',
      'train',
      recipe,
      '--out',
      path('none'),
      ...args,
    ])
    expect(code).toBe(2)
    expect(stderr).toMatch(line)
  })
})
